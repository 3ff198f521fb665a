package template_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/adapter/template"
)

func TestRender(t *testing.T) {
	values := map[string]any{"name": "Web App", "list": []any{"a", "b"}, "text": "a: 1"}
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
		{"{{.absent}}", []string{"missingkey=error"}, "", `no entry for key "absent"`},
		{"{{.name", nil, "", "unclosed action"},
		{"{{fail \"no\"}}", nil, "", "no"},
		{"{{.name}}", []string{"nonsense"}, "", "nonsense"},
		{"{{env \"HOME\"}}", nil, "", `function "env" not defined`},
		{"{{expandenv \"$HOME\"}}", nil, "", `function "expandenv" not defined`},
		{"{{getHostByName \"localhost\"}}", nil, "", `function "getHostByName" not defined`},
		{`{{repeat 2000000 "x"}}`, nil, "", "output exceeds"},
	} {
		got, err := template.New().Render(c.text, values, c.options)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v; want %q, %q", c.text, got, err, c.want, c.err)
		}
	}
}
