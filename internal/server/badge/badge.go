// Package badge draws the status of an Application or of projects as a picture
// for web pages (spec/api.md §4, /api/badge). It is open to everybody who knows
// a name, and therefore off unless switched on.
package badge

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Handler answers /api/badge.
type Handler struct{ Hub *store.Hub }

// enabledKey of argocd-cm switches badges on.
const enabledKey = "statusbadge.enabled"

// picture is what is drawn.
type picture struct {
	health, sync, revision, name string
	// found is false for what does not exist.
	found bool
	width int
}

// Colours by word.
var colours = map[string]string{
	string(v1alpha1.HealthHealthy): "#18be52", string(v1alpha1.HealthProgressing): "#0dadea", string(v1alpha1.HealthSuspended): "#766f94",
	string(v1alpha1.HealthDegraded): "#e96d76", string(v1alpha1.HealthMissing): "#f4c030", string(v1alpha1.SyncStatusSynced): "#18be52", string(v1alpha1.SyncStatusOutOfSync): "#f4c030",
}

// grey is the colour of what is not known.
const grey = "#b2bcc6"

// ServeHTTP draws the badge that the query asks for.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	p, status := h.picture(r)
	if status != http.StatusOK {
		http.Error(w, "names are those of Kubernetes objects", status)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "image/svg+xml")
	head.Set("Cache-Control", "private, no-store")
	head.Set("Access-Control-Allow-Origin", "*")
	head.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write([]byte(p.draw())) // the client may be gone
}

func (h *Handler) picture(r *http.Request) (picture, int) {
	q := r.URL.Query()
	p := picture{health: "Unknown", sync: "Unknown", found: true}
	if n, err := strconv.Atoi(q.Get("width")); err == nil && n > 0 && n <= 2000 {
		p.width = n
	}
	names := append([]string{q.Get("name"), q.Get("namespace")}, q["project"]...)
	if slices.ContainsFunc(names, func(n string) bool { return n != "" && len(validation.IsDNS1123Subdomain(n)) > 0 }) {
		return p, http.StatusBadRequest
	}
	if on, err := strconv.ParseBool(h.Hub.Config("argocd-cm")[enabledKey]); err != nil || !on {
		return p, http.StatusOK
	}
	if name := q.Get("name"); name != "" {
		h.application(&p, name, q.Get("namespace"), q.Get("revision") == "true", q.Get("keepFullRevision") == "true")
		if q.Get("showAppName") == "true" {
			p.name = name
		}
	} else if projects := q["project"]; len(projects) > 0 {
		h.projects(&p, projects)
	}
	return p, http.StatusOK
}

func (h *Handler) application(p *picture, name, namespace string, revision, full bool) {
	app, ok := h.Hub.App(namespace, name)
	if !ok || !h.Hub.Enabled(app.Namespace) {
		p.found = false
		return
	}
	p.health = cmp.Or(string(app.Status.Health.Status), "Unknown")
	p.sync = cmp.Or(string(app.Status.Sync.Status), "Unknown")
	if s := app.Status.OperationState; revision && s != nil && s.SyncResult != nil {
		p.revision = s.SyncResult.Revision
		if len(s.SyncResult.Revisions) > 0 {
			p.revision = s.SyncResult.Revisions[0]
		}
		if !full && len(p.revision) > 7 {
			p.revision = p.revision[:7]
		}
	}
}

// projects shows the worst of all their Applications.
func (h *Handler) projects(p *picture, projects []string) {
	for _, name := range projects {
		if _, ok := h.Hub.Project(name); !ok {
			p.found = false
			return
		}
	}
	p.health, p.sync = string(v1alpha1.HealthHealthy), string(v1alpha1.SyncStatusSynced)
	for _, item := range h.Hub.Apps.Snapshot().Items {
		app := item.Object
		if !slices.Contains(projects, policy.ProjectName(app)) {
			continue
		}
		if app.Status.Sync.Status != v1alpha1.SyncStatusSynced {
			p.sync = string(v1alpha1.SyncStatusOutOfSync)
		}
		if app.Status.Health.Status != v1alpha1.HealthHealthy {
			p.health = string(v1alpha1.HealthDegraded)
		}
	}
}

// Widths of badges without name, with a short and with a full revision.
const (
	widthPlain, widthShort, widthFull = 131, 192, 400
	heightLine                        = 20
	widthMark                         = 20
)

// draw writes the picture. All texts are escaped: a revision is what somebody
// put into Git.
func (p picture) draw() string {
	if !p.found {
		return svg(widthPlain, heightLine, box(widthMark, 0, widthPlain-widthMark, grey)+label(widthMark+(widthPlain-widthMark)/2, 14, "Not Found"))
	}
	width := widthPlain
	switch {
	case len(p.revision) > 7:
		width = widthFull
	case p.revision != "":
		width = widthShort
	}
	height, top := heightLine, 0
	var out strings.Builder
	if p.name != "" {
		height, top = 2*heightLine, heightLine
		width = max(width, widthMark+12+7*utf8.RuneCountInString(p.name))
		out.WriteString(label(width/2, 14, p.name))
	}
	if p.width > 0 {
		width = p.width
	}
	words := widthPlain - widthMark
	half := words * 53 / 111
	out.WriteString(box(widthMark, top, half, colour(p.health)) + label(widthMark+half/2, top+14, p.health))
	out.WriteString(box(widthMark+half, top, words-half, colour(p.sync)) + label(widthMark+half+(words-half)/2, top+14, p.sync))
	if p.revision != "" {
		rest := width - widthPlain
		out.WriteString(box(widthPlain, top, rest, colour(p.sync)) + label(widthPlain+rest/2, top+14, "("+p.revision+")"))
	}
	return svg(width, height, out.String())
}

func colour(word string) string { return cmp.Or(colours[word], grey) }

func svg(width, height int, inner string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"><rect width="%d" height="%d" rx="3" fill="#27384e"/>`+
		`<path d="M6 6h8v2H6zm0 3h8v2H6zm0 3h5v2H6z" fill="#fff"/>%s</svg>`, width, height, width, height, inner)
}

func box(x, y, width int, fill string) string {
	return fmt.Sprintf(`<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`, x, y, max(0, width), heightLine, fill)
}

func label(x, y int, text string) string {
	return fmt.Sprintf(`<text x="%d" y="%d" fill="#fff" font-size="11" font-family="DejaVu Sans,Verdana,Geneva,sans-serif" text-anchor="middle">%s</text>`, x, y, html.EscapeString(text))
}
