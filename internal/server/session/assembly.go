package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/adapter/oidc"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/sso"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
	"github.com/sluice-cd/sluice/internal/server/stream"
)

// AssemblyOptions say what an Assembly is built over.
type AssemblyOptions struct {
	// Hub is filled and watched; its Client reads from the API server itself.
	Hub *store.Hub
	// BaseHRef is where browsers see the UI, Secure whether they come by https.
	BaseHRef string
	Secure   func() bool
	Clock    clock.Clock
	// Dex is where the Dex beside the server is reached, for example
	// https://argocd-dex-server:5556; empty is nowhere. DexStrict verifies its
	// certificate, which Dex makes itself where nobody gives it one.
	Dex       string
	DexStrict bool
	// Limits brake logins, Parallel is how many are looked at at a time; the zero
	// values are the defaults of a Keeper.
	Limits   account.Limits
	Parallel int
	// Random is a source of random bytes that nobody can guess.
	Random     io.Reader
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Assembly is everything that a server needs to know who asks and what he may
// do, kept up to date with the hub.
type Assembly struct {
	Keeper   *identity.Keeper
	Policies *rbac.Live
	Auth     *Authenticator
	service  *Service
	pages    map[string]http.Handler
	provider atomic.Pointer[sso.Config]

	hub    *store.Hub
	log    *slog.Logger
	dirty  chan struct{}
	watch  *store.Watch[*v1alpha1.AppProject]
	policy map[string]string // that was loaded last
	warned string            // what was last said about the provider
}

// Assemble prepares the hub for its first start where it lacks something, and
// reads accounts, policies and projects. A policy that cannot be read is an
// error here; later the previous one stays.
func Assemble(ctx context.Context, o AssemblyOptions) (*Assembly, error) {
	hub := &identity.Store{Client: o.Hub.Client, Namespace: o.Hub.Namespace, Wrote: func(obj client.Object) {
		switch written := obj.(type) {
		case *corev1.Secret:
			o.Hub.Secrets.Wrote(written)
		case *v1alpha1.AppProject:
			o.Hub.Projects.Wrote(written)
		}
	}}
	keeper, err := identity.New(identity.Options{Hub: o.Hub, Secrets: hub, Projects: hub, Clock: o.Clock, Random: o.Random, Log: o.Log, Limits: o.Limits, Parallel: o.Parallel})
	if err != nil {
		return nil, err
	}
	a := &Assembly{Keeper: keeper, Policies: rbac.NewLive(), hub: o.Hub, log: o.Log, dirty: make(chan struct{}, 1)}
	if err := a.loadPolicy(); err != nil {
		return nil, err
	}
	a.watch = o.Hub.Projects.Watch(func(*v1alpha1.AppProject) bool { return true }, false)
	for _, p := range o.Hub.Projects.Snapshot().Items {
		a.loadProject(p.Object)
	}
	if err := keeper.Bootstrap(ctx); err != nil {
		return nil, fmt.Errorf("first start: %w", err)
	}
	cookies := Cookies{Path: o.BaseHRef, Secure: o.Secure}
	a.loadProvider()
	client := oidc.New(oidc.Options{
		Config: a.provider.Load, Scopes: func() []string { return a.Policies.Settings().Scopes }, Revoked: keeper.Revoked, Dex: o.Dex, DexStrict: o.DexStrict,
		Key: func() repo.Secret { return keeper.Book().Key }, Length: func() time.Duration { return keeper.Book().Session },
		Clock: o.Clock, Random: o.Random, Log: o.Log,
	})
	a.Auth = &Authenticator{Keeper: keeper, SSO: client, Cookies: cookies, Log: o.Log, Clock: o.Clock}
	if err := a.makePages(o); err != nil {
		return nil, err
	}
	a.service, err = New(Options{Keeper: keeper, Cookies: cookies, Decide: a.Policies, Namespace: o.Hub.Namespace, Log: o.Log, Registerer: o.Registerer})
	if err != nil {
		return nil, err
	}
	o.Hub.OnSettings(func() {
		select {
		case a.dirty <- struct{}{}:
		default:
		}
	})
	return a, nil
}

// Routes are those of sessions and accounts.
func (a *Assembly) Routes() route.Table { return a.service.Routes() }

// Pages are logins by a provider, by patterns of http.ServeMux.
func (a *Assembly) Pages() map[string]http.Handler { return a.pages }

func (a *Assembly) makePages(o AssemblyOptions) error {
	config := func() map[string]string { return o.Hub.Config(account.ConfigMapName) }
	a.pages = (&pages{auth: a.Auth, keeper: a.Keeper, config: config, provider: a.provider.Load, log: o.Log}).handlers()
	if o.Dex == "" {
		return nil
	}
	to, err := url.Parse(o.Dex)
	if err != nil || to.Host == "" {
		return fmt.Errorf("--dex-server: %q is no URL like http://argocd-dex-server:5556", o.Dex)
	}
	a.pages["/api/dex/"] = newDexProxy(dexAt{to, o.DexStrict}, o.BaseHRef, a.provider.Load, o.Log)
	return nil
}

// loadProvider reads who people log in at.
func (a *Assembly) loadProvider() {
	config, problems := sso.Parse(a.hub.Config(account.ConfigMapName), identity.Lookup(a.hub), a.Keeper.Book().Key)
	a.provider.Store(config)
	if text := errors.Join(problems...); fmt.Sprint(text) != a.warned {
		a.warned = fmt.Sprint(text)
		for _, p := range problems {
			a.log.Warn("setting not usable", "message", p.Error())
		}
	}
}

// Run follows the hub until ctx ends.
func (a *Assembly) Run(ctx context.Context) {
	go a.followProjects(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.dirty:
			a.Keeper.Reload()
			a.loadProvider()
			if err := a.loadPolicy(); err != nil {
				a.log.Error("policy not usable", "error", err.Error())
			}
		}
	}
}

func (a *Assembly) loadPolicy() error {
	var data map[string]string
	if m, ok := a.hub.ConfigMap(rbac.ConfigMapName); ok {
		data = m.Data
	}
	if a.policy != nil && maps.Equal(data, a.policy) {
		return nil
	}
	if a.policy = maps.Clone(data); a.policy == nil {
		a.policy = map[string]string{}
	}
	problems, err := a.Policies.Load(data)
	for _, p := range problems {
		a.log.Warn("policy without effect", "object", "ConfigMap/"+rbac.ConfigMapName, "message", p.Error())
	}
	return err
}

func (a *Assembly) loadProject(p *v1alpha1.AppProject) {
	for _, problem := range a.Policies.SetProject(p) {
		a.log.Warn("policy without effect", "object", "AppProject/"+p.Name, "message", problem.Error())
	}
}

func (a *Assembly) followProjects(ctx context.Context) {
	defer a.watch.Stop()
	for {
		changes, err := a.watch.Next(ctx)
		if err != nil {
			return
		}
		for _, c := range changes {
			if c.Kind == stream.Deleted {
				a.Policies.DeleteProject(c.Value.Object.Name)
				continue
			}
			a.loadProject(c.Value.Object)
		}
	}
}
