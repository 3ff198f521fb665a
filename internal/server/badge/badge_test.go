package badge

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/store"
)

func TestBadges(t *testing.T) {
	t.Parallel()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	cm := &corev1.ConfigMap{Data: map[string]string{enabledKey: "true"}}
	cm.Name, cm.Namespace, cm.ResourceVersion = "argocd-cm", "argocd", "1"
	hub.ConfigMaps.Put(cm)
	for _, name := range []string{"p", "empty"} {
		p := &v1alpha1.AppProject{}
		p.Name, p.Namespace = name, "argocd"
		hub.Projects.Put(p)
	}
	app := &v1alpha1.Application{}
	app.Name, app.Namespace, app.Spec.Project = "web", "argocd", "p"
	app.Status.Health.Status, app.Status.Sync.Status = v1alpha1.HealthDegraded, v1alpha1.SyncStatusSynced
	app.Status.OperationState = &v1alpha1.OperationState{SyncResult: &v1alpha1.SyncOperationResult{Revision: "<script>abcdef0123456789"}}
	hub.Apps.Put(app)
	h := &Handler{Hub: hub}
	for query, c := range map[string]struct {
		status int
		want   []string
	}{
		"name=web":               {200, []string{"Degraded", "Synced", `width="131"`, "#e96d76"}},
		"name=web&revision=true": {200, []string{"(&lt;script)", `width="192"`}},
		"name=web&revision=true&keepFullRevision=true": {200, []string{"&lt;script&gt;abcdef0123456789", `width="400"`}},
		"name=web&showAppName=true":                    {200, []string{">web<"}},
		"name=web&width=500":                           {200, []string{`width="500"`}},
		"name=none":                                    {200, []string{"Not Found"}},
		"name=web&namespace=other":                     {200, []string{"Not Found"}},
		"name=%3Cx%3E":                                 {400, nil},
		"project=p":                                    {200, []string{"Degraded", "Synced"}},
		"project=empty":                                {200, []string{"Healthy", "Synced"}},
		"project=none":                                 {200, []string{"Not Found"}},
		"":                                             {200, []string{"Unknown"}},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/badge?"+query, nil))
		body := w.Body.String()
		if w.Code != c.status {
			t.Errorf("%s: %d", query, w.Code)
		}
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", query, want, body)
			}
		}
		if c.status == 200 {
			wellFormed(t, query, body)
			if w.Header().Get("Content-Type") != "image/svg+xml" || !strings.Contains(w.Header().Get("Cache-Control"), "no-store") {
				t.Errorf("%s: headers %v", query, w.Header())
			}
		}
	}
	off := cm.DeepCopy()
	off.Data, off.ResourceVersion = nil, "2"
	hub.ConfigMaps.Put(off)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/badge?name=web&revision=true", nil))
	if body := w.Body.String(); strings.Contains(body, "Degraded") || strings.Contains(body, "script") || !strings.Contains(body, grey) {
		t.Errorf("switched off it tells %s", body)
	}
}

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v in %s", name, err, text)
		}
	}
}
