package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/generate"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/controller/perform"
	"github.com/sluice-cd/sluice/internal/controller/steer"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	apicluster "github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/core"
	"github.com/sluice-cd/sluice/internal/server/engine"
	"github.com/sluice-cd/sluice/internal/server/project"
	"github.com/sluice-cd/sluice/internal/server/repository"
)

// later is something that is there only when a process has come so far.
type later[T any] struct{ p atomic.Pointer[T] }

func (l *later[T]) set(v T) { l.p.Store(&v) }

func (l *later[T]) get() (v T) {
	if p := l.p.Load(); p != nil {
		return *p
	}
	return v
}

// previewer renders an ApplicationSet and writes nothing.
type previewer = func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error)

// reach is what a server reaches of the controllers in its process: nothing
// until they run.
type reach struct {
	manifests later[manifest.Renderer]
	engine    later[application.Engine]
	desk      later[applicationset.Desk]
	preview   later[previewer]
	remotes   later[repository.Remotes]
	states    later[clusterStates]
	hint      later[func(repo.Push) int]
	hintSets  later[func(context.Context, appset.Event) error]
}

// clusterStates gives what is known of a cluster.
type clusterStates = func(server string) (apicluster.Info, bool)

// clusterState is what is known of a cluster.
func (r *reach) clusterState(server string) (apicluster.Info, bool) {
	if states := r.states.get(); states != nil {
		return states(server)
	}
	return apicluster.Info{}, false
}

// openEngine gives a server what the controller of Applications knows; the
// function returned ends the children that run actions.
func (r *reach) openEngine(p *parts, apps *appLoop) (func(), error) {
	actions, closeActions, err := performer(p)
	if err != nil {
		return nil, err
	}
	r.states.set(func(server string) (apicluster.Info, bool) { return core.StateOf(apps.fleet, server) })
	r.engine.set(&engine.Engine{Reader: apps.controller, Fleet: apps.fleet, Perform: actions, Settings: p.store.Snapshot})
	return closeActions, nil
}

// performer carries out resource actions; the function returned ends the
// children that run their scripts.
func performer(p *parts) (*perform.Service, func(), error) {
	shipped, err := lua.NewShipped(rules.Files)
	if err != nil {
		return nil, nil, err
	}
	log := p.log.With("component", "actions")
	pool, err := lua.NewPool(lua.PoolOptions{Clock: p.clock, Log: log})
	if err != nil {
		return nil, nil, err
	}
	recorder := p.mgr.GetEventRecorderFor(apiComponent) //nolint:staticcheck // core v1 events are what users read
	actions := perform.New(perform.Options{Shipped: shipped, Runner: pool, Recorder: recorder, Clock: p.clock, Log: log})
	actions.Reload(p.store.Snapshot().Config)
	p.store.OnChange(func(s *settings.Snapshot) { actions.Reload(s.Config) })
	return actions, pool.Close, nil
}

// openRemotes lets a server in this process ask repositories.
func (r *reach) openRemotes(p *parts, data string) error {
	remotes, err := newRemotes(p.mirrors, remoteParts{data: data, params: paramsOf(p.store), log: p.log})
	if err != nil {
		return err
	}
	r.manifests.set(p.manifests)
	r.remotes.set(remotes)
	r.hint.set(p.mirrors.Hint)
	return nil
}

// openSets gives a server what the controllers of ApplicationSets know.
func (r *reach) openSets(p *parts, loops *setLoops) error {
	sets := loops.generate
	r.hintSets.set(func(ctx context.Context, ev appset.Event) error {
		_, err := sets.Hint(ctx, p.mgr.GetClient(), ev)
		return err
	})
	r.preview.set(func(ctx context.Context, set *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
		shown, err := sets.Preview(ctx, set)
		if err != nil {
			return nil, err
		}
		if problems := append(shown.Errors, shown.Incomplete...); len(problems) > 0 {
			return nil, errors.New(problems[0])
		}
		return shown.Applications, nil
	})
	direct, err := client.New(p.mgr.GetConfig(), client.Options{Scheme: p.mgr.GetScheme(), Mapper: p.mgr.GetRESTMapper(), HTTPClient: p.mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	r.desk.set(steer.New(steer.Options{
		Reader: p.mgr.GetCache(), Client: direct, Facts: loops.facts, Evaluate: evaluated(sets), Log: p.log.With("component", "rollout"), Registerer: p.registry,
	}))
	return nil
}

// evaluated renders a set for a plan.
func evaluated(sets *generate.Controller) func(context.Context, *v1alpha1.ApplicationSet) (*appset.Rendered, error) {
	return func(ctx context.Context, set *v1alpha1.ApplicationSet) (*appset.Rendered, error) {
		shown, err := sets.Preview(ctx, set)
		if err != nil {
			return nil, err
		}
		out := &appset.Rendered{Applications: shown.Applications, Incomplete: shown.Incomplete, Doubts: shown.Doubts}
		for _, text := range shown.Errors {
			out.Errors = append(out.Errors, errors.New(text))
		}
		return out, nil
	}
}

// projectTokens makes tokens of project roles.
type projectTokens struct{ keeper *identity.Keeper }

// CreateProjectToken makes one.
func (t projectTokens) CreateProjectToken(ctx context.Context, q project.TokenRequest) (string, error) {
	return t.keeper.CreateProjectToken(ctx, identity.ProjectToken{Project: q.Project, Role: q.Role, ID: q.ID, Lifetime: time.Duration(q.ExpiresIn) * time.Second})
}

// DeleteProjectToken ends one.
func (t projectTokens) DeleteProjectToken(ctx context.Context, name, role, id string, issuedAt int64) error {
	return t.keeper.DeleteProjectToken(ctx, identity.ProjectToken{Project: name, Role: role, ID: id}, issuedAt)
}

// remotes asks repositories for a server.
type remotes struct {
	mirrors *gitrepo.Mirrors
	fetcher *remote.Fetcher
}

// remoteParts are what repositories are asked with.
type remoteParts struct {
	data     string
	params   func() map[string]string
	log      *slog.Logger
	registry prometheus.Registerer
}

func newRemotes(mirrors *gitrepo.Mirrors, p remoteParts) (repository.Remotes, error) {
	log := p.log.With("component", "names")
	tuned, err := live(p.params, log)
	if err != nil {
		return nil, err
	}
	fetcher, err := remote.New(remote.Options{Dir: filepath.Join(p.data, "names"), Tuning: tuned, Log: log, Registerer: p.registry})
	if err != nil {
		return nil, fmt.Errorf("lists of charts: %w", err)
	}
	return &remotes{mirrors: mirrors, fetcher: fetcher}, nil
}

func isGit(r repo.Repository) bool { return (r.Type == repo.Git || r.Type == "") && !remote.IsOCI(r) }

// Test says whether a repository can be read.
func (m *remotes) Test(ctx context.Context, r repo.Repository) error {
	if isGit(r) {
		return m.mirrors.Refresh(ctx, r)
	}
	return m.fetcher.Test(ctx, r)
}

// Refs are branches and tags.
func (m *remotes) Refs(ctx context.Context, r repo.Repository) (branches, tags []string, err error) {
	return m.mirrors.Names(ctx, r)
}

// Tags are those of a registry.
func (m *remotes) Tags(ctx context.Context, r repo.Repository) ([]string, error) {
	return m.fetcher.Tags(ctx, r)
}

// Charts are those of a Helm repository.
func (m *remotes) Charts(ctx context.Context, r repo.Repository) (map[string][]string, error) {
	return m.fetcher.Charts(ctx, r)
}

// Files are those of a chart or of an artifact.
func (m *remotes) Files(ctx context.Context, r repo.Repository, src v1alpha1.ApplicationSource) (tree.Tree, error) {
	if src.Chart != "" {
		return m.fetcher.Chart(ctx, remote.Chart{
			Repository: r, Name: src.Chart, Versions: src.TargetRevision, PassCredentials: src.Helm != nil && src.Helm.PassCredentials,
		})
	}
	digest, err := m.fetcher.ResolveArtifact(ctx, r, src.TargetRevision)
	if err != nil {
		return nil, err
	}
	return m.fetcher.Artifact(ctx, r, digest)
}
