package notification

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/server/store"
)

func TestNames(t *testing.T) {
	t.Parallel()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := New(hub)
	if list, err := s.Triggers(t.Context(), nil, &Query{}); err != nil || list.Items == nil {
		t.Errorf("without the config map: %v, %v", list, err)
	}
	cm := &corev1.ConfigMap{Data: map[string]string{
		"trigger.on-b": "", "trigger.on-a": "", "template.x.y": "", "service.slack": "token: CANARY", "service.webhook.github": "", "trigger.": "", "defaultTriggers": "",
	}}
	cm.Name, cm.Namespace = ConfigName, "argocd"
	hub.ConfigMaps.Put(cm)
	triggers, _ := s.Triggers(t.Context(), nil, &Query{})
	services, _ := s.Services(t.Context(), nil, &Query{})
	templates, _ := s.Templates(t.Context(), nil, &Query{})
	if got := fmt.Sprint(triggers.Items, services.Items, templates.Items); got != "[{on-a} {on-b}] [{github} {slack}] [{x.y}]" {
		t.Errorf("got %s", got)
	}
}
