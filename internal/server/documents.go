package server

import (
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/openapi"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// documents describe the API, for programs and for people. They are made once:
// the table does not change.
func (s *Server) documents() (machine, people http.Handler) {
	document, err := openapi.Document(s.table, s.options.Build.Version)
	page := []byte(table(s.table))
	serve := func(kind string, content []byte) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if err != nil {
				s.options.Log.Error("the API cannot be described", "error", err.Error())
				http.Error(w, "not available", http.StatusInternalServerError)
				return
			}
			h := w.Header()
			h.Set("Content-Type", kind)
			h.Set("X-Frame-Options", "DENY")
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
			_, _ = w.Write(content) // the client may be gone
		})
	}
	return serve("application/json", document), serve("text/html; charset=utf-8", page)
}

// table is a page with all routes and their rules.
func table(all route.Table) string {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b route.Route) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	var out strings.Builder
	out.WriteString(`<!DOCTYPE html><title>Sluice API</title><style>body{font-family:sans-serif}td{padding:2px 12px}</style>` +
		`<h1>API</h1><p>For programs: <a href="swagger.json">swagger.json</a></p><table>`)
	for i := range sorted {
		r := &sorted[i]
		var checks []string
		for _, c := range r.Rule.Must {
			checks = append(checks, c.String())
		}
		fmt.Fprintf(&out, "<tr><td>%s<td><code>%s</code><td>%s<td>%s %s", r.Method, html.EscapeString(r.Path), html.EscapeString(r.Summary), r.Rule.Access, strings.Join(checks, ", "))
	}
	out.WriteString("</table>")
	return out.String()
}
