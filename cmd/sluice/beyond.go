package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/audit"
	"github.com/sluice-cd/sluice/internal/server/webhook"
)

// beyond makes what surrounds the routes of a server: the receiver of webhooks
// and the audit.
func (f *serverFlags) beyond(ctx context.Context, p serverParts, log *slog.Logger) (map[string]http.Handler, *audit.Auditor, error) {
	engine := template.New(clock.RealClock{})
	hooks, err := webhook.Assemble(webhook.AssemblyOptions{
		Hub: p.hub, Find: identity.Lookup(p.hub), Hint: p.reach.hint.get, HintSets: p.reach.hintSets.get,
		World:      func() appset.World { return appset.World{Clusters: p.settings.Snapshot().Clusters, Go: engine} },
		Repository: func(url string) repo.Repository { return p.settings.Snapshot().Repository(url, "") },
		Workers:    f.hookWorkers, Writers: f.hookWriters,
		Random: rand.Reader, Log: log, Clock: clock.RealClock{}, Registerer: p.registerer,
	})
	if err != nil {
		return nil, nil, err
	}
	go hooks.Run(ctx)
	reasons := f.reasons(func() map[string]string { return p.hub.Config("argocd-cmd-params-cm") })
	audited, err := audit.New(audit.Options{
		Client: p.hub.Client, Namespace: p.hub.Namespace, Project: p.hub.Project, Config: func() map[string]string { return p.hub.Config("argocd-cm") },
		Reasons: func() []string { return reasons(apiComponent) },
		Log:     p.log.With("component", "audit"), Clock: clock.RealClock{}, Registerer: p.registerer,
	})
	if err != nil {
		return nil, nil, err
	}
	go audited.Run(ctx)
	return map[string]http.Handler{"/api/webhook": hooks}, audited, nil
}
