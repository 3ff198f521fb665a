package template_test

import (
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/template"
)

func TestRender(t *testing.T) {
	values := map[string]any{"name": "Web App", "list": []any{"a", "b"}, "text": "a: 1", "big": float64(12345678), "half": 1.5, "yes": true, "nothing": nil, "huge": 1e300}
	for _, c := range []struct {
		text    string
		options []string
		want    string
		err     string
	}{
		{"{{.name}}", nil, "Web App", ""},
		{"{{normalize .name}}", nil, "web-app", ""},
		{"{{slugify 5 .name}}", nil, "web", ""},
		{"{{slugify 5 false .name}}", nil, "web-a", ""},
		{"{{toYaml .list}}", nil, "- a\n- b", ""},
		{"{{(fromYaml .text).a}}", nil, "1", ""},
		{"{{.absent}}", nil, "<no value>", ""},
		{"{{.nothing}}", nil, "<no value>", ""},
		{"{{.big}} {{.half}} {{.yes}} {{.huge}}", nil, "12345678 1.5 true 1e+300", ""},
		{`{{printf "%.0f" .big}} {{int .big}} {{add .big 1}} {{.big | toString}}`, nil, "12345678 12345678 12345679 1.2345678e+07", ""},
		{`{{if .yes}}{{.big}}{{else}}x{{end}}{{range $i, $x := .list}}{{$i}}{{$x}}{{end}}{{with .big}}{{.}}{{end}}{{$v := .big}}{{$v}}`, nil, "123456780a1b1234567812345678", ""},
		{`{{define "x"}}{{.big}}{{end}}{{template "x" .}}`, nil, "12345678", ""},
		{"{{eq .big 12345678.0}}", nil, "true", ""},
		{"{{.absent}}", []string{"missingkey=error"}, "", `no entry for key "absent"`},
		{"{{.name", nil, "", "unclosed action"},
		{"{{fail \"no\"}}", nil, "", "no"},
		{"{{.name}}", []string{"nonsense"}, "", "nonsense"},
		{"{{env \"HOME\"}}", nil, "", `function "env" not defined`},
		{"{{expandenv \"$HOME\"}}", nil, "", `function "expandenv" not defined`},
		{"{{getHostByName \"localhost\"}}", nil, "", `function "getHostByName" not defined`},
		{`{{repeat 2000000 "x"}}`, nil, "", "more than 1048576 bytes"},
	} {
		got, err := template.New(clock.RealClock{}).Render(c.text, values, c.options)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %q", c.text, got, err, c.want, c.err)
		}
	}
}
