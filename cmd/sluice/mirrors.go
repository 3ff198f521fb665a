package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Keys of argocd-cmd-params-cm, read at start (spec/config.md §5).
const (
	submoduleKey      = "reposerver.enable.git.submodule"
	requestTimeoutKey = "reposerver.git.request.timeout"
	parallelismKey    = "reposerver.git.lsremote.parallelism.limit"
)

// mirrorOptions wires the mirrors of Git repositories to flags and settings.
func (f *allFlags) mirrorOptions(store *settings.Store, clk clock.WithTicker, registry prometheus.Registerer, logger *slog.Logger) gitrepo.Options {
	snapshot := store.Snapshot()
	timeout, err := snapshot.ParamDuration(requestTimeoutKey, 0)
	if err != nil {
		logger.Warn("setting not usable", "error", err.Error())
	}
	perHost, err := snapshot.ParamInt(parallelismKey, 0)
	if err != nil {
		logger.Warn("setting not usable", "error", err.Error())
	}
	var tunnel []string
	if self, err := os.Executable(); err == nil {
		tunnel = []string{self, gitrepo.TunnelCommand}
	}
	return gitrepo.Options{
		RequestTimeout: timeout, HostRequests: perHost,
		Dir: filepath.Join(f.data, "mirrors"), AllowFile: f.allowFile, DiskBudget: f.diskBudgetMiB << 20, MaxPackBytes: f.maxPackMiB << 20, MaxGitMemory: f.gitMemoryMiB << 20,
		Pace: func() gitrepo.Pace {
			if f.pollSet {
				return gitrepo.Pace{Every: f.pollInterval, Jitter: f.pollInterval / 5}
			}
			every, jitter := store.RepositoryPace(f.pollInterval)
			return gitrepo.Pace{Every: every, Jitter: jitter}
		},
		Environment: proxyEnvironment(os.Environ()), Tunnel: tunnel,
		Clock: clk, Log: logger.With("component", "git"), Registerer: registry,
	}
}

// submodules decides whether a submodule may be read, and as whom: the project
// on whose behalf the parent is read must permit its URL, as if it were a
// source. Without credentials of its own a submodule on the same host gets
// those of the parent, as git does.
func submodules(ctx context.Context, declared func() *settings.Snapshot, projects projectGetter) func(repo.Repository, string) (repo.Repository, error) {
	return func(parent repo.Repository, url string) (repo.Repository, error) {
		snapshot := declared()
		if snapshot.Params[submoduleKey] == "false" {
			return repo.Repository{}, fmt.Errorf("submodules are switched off by %s in argocd-cmd-params-cm", submoduleKey)
		}
		name := parent.Asker
		if name == "" {
			name = policy.DefaultProject
		}
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		project, err := projects(bounded, name)
		if err != nil {
			return repo.Repository{}, fmt.Errorf("project %s: %w", name, err)
		}
		if !policy.Source(project, url) {
			return repo.Repository{}, fmt.Errorf("project %s does not permit %s: add it to spec.sourceRepos", name, repo.Redact(url))
		}
		sub := lend(parent, snapshot.Repository(url, parent.Asker))
		if err := named(bounded, snapshot, parent.Asker, parent.URL, url); err != nil {
			return repo.Repository{}, err
		}
		return sub, nil
	}
}

// named refuses a URL inside the network that only a commit of the repository
// home names: an administrator has to have declared it (design SEC-04).
func named(ctx context.Context, snapshot *settings.Snapshot, project, home, url string) error {
	if sameOrigin(home, url) || snapshot.Declared(url, project) || !private(ctx, net.DefaultResolver, repo.HostOf(strings.TrimPrefix(url, "oci://"))) {
		return nil
	}
	return fmt.Errorf("%s is inside the network: declare it with a repository Secret, a commit must not make Sluice call it", repo.Redact(url))
}

// insideGate asks named for what renders read outside their tree, except from
// hosts that a flag allows.
func insideGate(declared func() *settings.Snapshot, allowed []string) func(ctx context.Context, project, home, url string) error {
	return func(ctx context.Context, project, home, url string) error {
		if slices.Contains(allowed, repo.HostOf(strings.TrimPrefix(url, "oci://"))) {
			return nil
		}
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return named(bounded, declared(), project, home, url)
	}
}

// projectGetter reads a project.
type projectGetter func(ctx context.Context, name string) (*v1alpha1.AppProject, error)

// projectsOf reads projects from the hub, with what they take over from others.
func projectsOf(hub client.Reader, namespace string, declared func() *settings.Snapshot) projectGetter {
	get := func(ctx context.Context, name string) (*v1alpha1.AppProject, error) {
		var project v1alpha1.AppProject
		err := hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &project)
		return &project, err
	}
	return func(ctx context.Context, name string) (*v1alpha1.AppProject, error) {
		project, err := get(ctx, name)
		if err != nil {
			return nil, err
		}
		return declared().Effective(project, func(name string) *v1alpha1.AppProject {
			global, err := get(ctx, name)
			if err != nil {
				return nil
			}
			return global
		}), nil
	}
}

func sameOrigin(a, b string) bool {
	from, errFrom := repo.Parse(a)
	to, errTo := repo.Parse(b)
	return errFrom == nil && errTo == nil && from.Origin() == to.Origin()
}

// private says whether a host that only a commit names is none of the public
// network (design SEC-04). A name that does not resolve is not private: git
// will say so.
func private(ctx context.Context, resolver *net.Resolver, host string) bool {
	addresses, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if a = a.Unmap(); a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsUnspecified() || a.IsMulticast() || shared.Contains(a) {
			return true
		}
	}
	return false
}

// shared are the addresses of carriers and of some clouds' services.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// lend gives a submodule on the host of its parent the credentials of that.
func lend(parent, sub repo.Repository) repo.Repository {
	if sub.HasCredentials() || !sameOrigin(parent.URL, sub.URL) {
		return sub
	}
	lent := parent
	lent.URL, lent.Invalid, lent.EnableLFS = sub.URL, sub.Invalid, sub.EnableLFS || parent.EnableLFS
	return lent
}

// proxyEnvironment are the variables that name proxies: git gets no others.
func proxyEnvironment(all []string) []string {
	var out []string
	for _, kv := range all {
		switch name, _, _ := strings.Cut(kv, "="); strings.ToLower(name) {
		case "http_proxy", "https_proxy", "no_proxy", "all_proxy":
			out = append(out, kv)
		}
	}
	return out
}
