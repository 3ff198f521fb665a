package link

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/server/store"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	cm := &corev1.ConfigMap{Data: map[string]string{
		"resource.links": `
- {title: Old, url: "https://x/{{.metadata.name}}", description: d, icon.class: fa-x}
- {title: New, url: "https://x/{{.resource.metadata.name | upper}}", if: 'resource.kind == "Secret" && app.team == "a"'}
- {title: Hidden, url: "https://x", if: 'resource.kind == "Pod"'}
- {title: Broken, url: "https://x", if: 'resource.nothing.here > 1'}
- {title: No bool, url: "https://x", if: '"yes"'}
- {title: Endless, url: "https://x", if: 'len(1..1000000000) > 0'}
- {title: Data, url: "https://x/{{.data}}{{.resource.data}}{{.metadata.managedFields}}{{.metadata.annotations}}"}
- {title: Script, url: "javascript:alert(1)"}
- {title: Blank, url: " https://x"}
- {title: Break, url: "java\nscript:alert(1)"}
- {title: Data URL, url: "data:text/html,x"}
- {title: No host, url: "https:///x"}
- {title: Wrong, url: "https://x/{{"}
`, "application.links": "{",
	}}
	cm.Name, cm.Namespace = "argocd-cm", "argocd"
	hub.ConfigMaps.Put(cm)
	o := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Secret", "data": map[string]any{"a": "CANARY"}, "metadata": map[string]any{
			"name": "db", "managedFields": []any{"CANARY"}, "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": "CANARY"},
		},
	}}
	m := &Maker{Hub: hub, Render: template.New(clock.RealClock{}).Render, Log: slog.New(slog.DiscardHandler)}
	out := m.Make(t.Context(), "resource.links", o, map[string]any{"resource": o, "app": map[string]any{"team": "a"}})
	var got []string
	for _, l := range out.Items {
		got = append(got, l.Title+" "+l.URL)
	}
	text := strings.Join(got, "; ")
	if !strings.HasPrefix(text, "Old https://x/db; New https://x/DB") || len(out.Items) > 3 || strings.Contains(fmt.Sprint(out), "CANARY") {
		t.Errorf("links are %s", text)
	}
	if o.Object["data"] == nil {
		t.Error("the object was changed")
	}
	if d := out.Items[0]; d.Description != "d" || d.IconClass != "fa-x" {
		t.Errorf("%+v", d)
	}
	if out := m.Make(t.Context(), "application.links", nil, nil); len(out.Items) != 0 || out.Items == nil {
		t.Errorf("a broken setting gives %v", out.Items)
	}
}

func TestSafe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://x/y?z=1#a": true, "http://x": true, "HTTPS://x": true, "ftp://x": false, "//x/y": false, "/x": false, "x": false, "": false, "https://": false,
		"javascript:alert(1)": false, "\tjavascript:alert(1)": false, "https://x\x00": false, "vbscript:x": false, "https://" + strings.Repeat("x", maxURL): false,
	} {
		if Safe(text) != want {
			t.Errorf("Safe(%.40q) is %v", text, !want)
		}
	}
}
