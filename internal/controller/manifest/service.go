package manifest

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Renderer is what the controllers ask; it is a Service in the same process,
// or a client of one in another (package transport).
type Renderer interface {
	// Resolve gives the commit, chart version or digest of a source.
	Resolve(ctx context.Context, project string, src v1alpha1.ApplicationSource, fresh bool) (string, error)
	// Verify says whether the revisions are signed as the project demands.
	Verify(ctx context.Context, project *v1alpha1.AppProject, sources []v1alpha1.ApplicationSource, revisions []string, known []signature.Key) error
	// Describe says what a revision is, for people.
	Describe(ctx context.Context, project string, src v1alpha1.ApplicationSource, revision string, known []signature.Key) (Description, error)
	// Subscribe calls notify when the source resolves differently than before.
	Subscribe(project string, src v1alpha1.ApplicationSource, notify func()) (cancel func(), err error)
	// Tree reads a revision of a Git repository.
	Tree(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error)
	// Generate renders all sources at the revisions, one per source.
	Generate(ctx context.Context, q Query, revisions []string) (*Manifests, error)
	// Decide gives the digest that Generate would give, when that is known
	// without rendering anything.
	Decide(ctx context.Context, q Query, revisions []string) (digest string, known bool, err error)
	// Keep keeps the manifests of deployments until the holder names others,
	// so that a rollback needs neither their repositories nor a renderer.
	Keep(ctx context.Context, holder string, past []Deployment) error
}

// Store keeps results outside the process; it never fails and may forget.
type Store interface {
	Get(ctx context.Context, name string) ([]byte, bool)
	Put(ctx context.Context, name string, value []byte)
	// Hold keeps the entries with these names, put before or after, until the
	// same holder names others.
	Hold(holder string, names []string)
}

// Options of a Service.
type Options struct {
	Mirrors *gitrepo.Mirrors
	Pool    *worker.Pool
	Fetcher *remote.Fetcher
	// Plugins are the sidecars; nil is none.
	Plugins *plugin.Client
	// Store is a second place for results; nil is memory alone.
	Store Store
	// Repository tells what is declared about a URL for a project, ByName
	// about a name.
	Repository func(url, project string) repo.Repository
	ByName     func(name, project string) (repo.Repository, bool)
	// Permitted says whether a project may read from a URL.
	Permitted func(project, url string) bool
	// Inside says why a URL that only the content of the repository home names
	// must not be called; nil allows all.
	Inside func(ctx context.Context, project, home, url string) error
	// Config is argocd-cm, Params argocd-cmd-params-cm.
	Config, Params func() map[string]string
	// Unsigned lets projects demand signatures in vain: nothing is verified
	// (ARGOCD_GPG_ENABLED=false).
	Unsigned bool
	// CacheBytes bounds the results in memory (default 128 MiB).
	CacheBytes int
	// PollInterval is the pause between two questions to a registry.
	PollInterval time.Duration
	Clock        clock.Clock
	Log          *slog.Logger
	Registerer   prometheus.Registerer
}

// Query is an Application's sources with what they are rendered for.
type Query struct {
	App         render.App
	Sources     []v1alpha1.ApplicationSource
	KubeVersion string
	APIVersions []string
	// Hard ignores cached results, Retry remembered failures only.
	Hard, Retry bool
	// Local replaces the tree of the first source: uploaded files. Its result
	// is not cached.
	Local tree.Tree `json:"-"`
	// GeneratePaths is the annotation manifest-generate-paths.
	GeneratePaths string
}

// Manifests is what an Application should consist of.
type Manifests struct {
	// Objects are shared: callers must not change them.
	Objects     []*unstructured.Unstructured
	Revisions   []string
	SourceTypes []string
	// Digest of the objects in order: equal digests mean equal manifests.
	Digest string
	// Warnings are what a user should know about the sources.
	Warnings []string
	// kept holds the decoded lists, which others may share.
	kept []*[]*unstructured.Unstructured
}

// Service renders Applications. It is safe for concurrent use.
type Service struct {
	options     Options
	ctx         context.Context //nolint:containedctx // the life of the watches
	flight      singleflight.Group
	cache       *results
	differences *differences
	trees       *trees
	watches     watches
	renders     *prometheus.CounterVec
	reused      prometheus.Counter // of renders
	recalled    prometheus.Counter // of renders
	seconds     prometheus.Histogram
}

var _ Renderer = (*Service)(nil)

// New makes a Service that works until ctx ends.
func New(ctx context.Context, o Options) *Service {
	if o.PollInterval == 0 {
		o.PollInterval = defaultPoll
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		options: o, ctx: ctx, cache: newResults(o.Clock, o.CacheBytes), differences: newDifferences(), trees: newTrees(),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_app_manifest_renders_total", Help: "Renders by result: rendered, reused, failed, or recalled: a source that could not be read is what was deployed before.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "argocd_app_manifest_render_seconds", Help: "Duration of renders.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
	}
	s.reused, s.recalled = s.renders.WithLabelValues("reused"), s.renders.WithLabelValues("recalled")
	o.Registerer.MustRegister(s.renders, s.seconds)
	return s
}

// Resolve gives the commit, version or digest of a source. Unless fresh, the
// poller's last answer counts; the remote is asked when there is none.
func (s *Service) Resolve(ctx context.Context, project string, src v1alpha1.ApplicationSource, fresh bool) (string, error) {
	if err := supported(src); err != nil {
		return "", err
	}
	switch kindOf(src) {
	case repo.OCI:
		r := s.chartRepository(src.RepoURL, project)
		if fresh {
			s.options.Fetcher.Refresh(r)
		}
		return s.options.Fetcher.ResolveArtifact(ctx, r, src.TargetRevision)
	case repo.Helm:
		c := s.chart(project, src, src.TargetRevision)
		if fresh {
			s.options.Fetcher.Refresh(c.Repository)
		}
		return s.options.Fetcher.ResolveChart(ctx, c)
	}
	return s.options.Mirrors.Resolve(ctx, s.options.Repository(src.RepoURL, project), target(src), fresh)
}

// kindOf tells where a source is from (spec/application.md §2.1).
func kindOf(src v1alpha1.ApplicationSource) repo.Type {
	switch {
	case strings.HasPrefix(src.RepoURL, "oci://"):
		return repo.OCI
	case src.Chart != "":
		return repo.Helm
	}
	return repo.Git
}

func (s *Service) chart(project string, src v1alpha1.ApplicationSource, versions string) remote.Chart {
	return remote.Chart{
		Repository: s.chartRepository(src.RepoURL, project), Name: src.Chart, Versions: versions,
		PassCredentials: src.Helm != nil && src.Helm.PassCredentials,
	}
}

func target(src v1alpha1.ApplicationSource) gitrepo.Target {
	return gitrepo.Target{Revision: src.TargetRevision, TagPrefix: src.TagPrefix}
}

// refName is what a source may be called (spec/application.md §7.6).
var refName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func supported(src v1alpha1.ApplicationSource) error {
	switch isOCI := kindOf(src) == repo.OCI; {
	case src.RepoURL == "":
		return fmt.Errorf("spec.source.repoURL is empty: set it to the URL of a repository")
	case src.Chart != "" && !isOCI && src.TargetRevision == "":
		return fmt.Errorf("spec.source.targetRevision is required if the manifest source is a helm chart: set a version or a range like \"*\"")
	case src.Chart != "" && src.Ref != "":
		return fmt.Errorf("spec.source.ref: %q names a chart, which value files cannot be read from: use a Git repository", src.Ref)
	case src.Path == "" && src.Ref == "" && src.Chart == "":
		return fmt.Errorf("spec.source.path is empty: set it to a folder of the repository, \".\" for its root")
	case src.Ref != "" && !refName.MatchString(src.Ref):
		return fmt.Errorf("spec.source.ref: %q has other characters than letters, digits, - and _", src.Ref)
	}
	return nil
}

// Subscribe calls notify when the source resolves differently than before.
func (s *Service) Subscribe(project string, src v1alpha1.ApplicationSource, notify func()) (cancel func(), err error) {
	if kindOf(src) != repo.Git {
		return s.watchOther(project, src, notify), nil
	}
	return s.options.Mirrors.Follow(func() repo.Repository { return s.options.Repository(src.RepoURL, project) }, target(src), notify)
}

// Tree reads a revision of a repository, for generators.
func (s *Service) Tree(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error) {
	r := s.options.Repository(repoURL, project)
	id, err := s.options.Mirrors.Resolve(ctx, r, gitrepo.Target{Revision: revision}, fresh)
	if err != nil {
		return nil, err
	}
	return s.options.Mirrors.Tree(ctx, r, id)
}

// open gives the tree of a source at a revision.
func (s *Service) open(ctx context.Context, project string, src v1alpha1.ApplicationSource, revision string) (tree.Tree, error) {
	switch kindOf(src) {
	case repo.OCI:
		return s.options.Fetcher.Artifact(ctx, s.chartRepository(src.RepoURL, project), revision)
	case repo.Helm:
		return s.options.Fetcher.Chart(ctx, s.chart(project, src, revision))
	}
	return s.options.Mirrors.Tree(ctx, s.options.Repository(src.RepoURL, project), revision)
}

// Generate renders all sources at the revisions, one per source, in order; a
// source that is only referred to has no objects and no type.
func (s *Service) Generate(ctx context.Context, q Query, revisions []string) (*Manifests, error) {
	p, err := s.plan(ctx, &q, revisions)
	if err != nil {
		return s.again(ctx, &q, revisions, err)
	}
	c := collected{revisions: revisions}
	for i, src := range q.Sources {
		if onlyRef(src) {
			c.skip()
			continue
		}
		one, err := s.source(ctx, p, i)
		if err == nil {
			err = c.add(one)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.manifests(), nil
}

// collected puts sources together.
type collected struct {
	out       Manifests
	revisions []string
	digests   []byte
}

// skip passes over a source that is only referred to.
func (c *collected) skip() { c.out.SourceTypes = append(c.out.SourceTypes, "") }

func (c *collected) add(one *result) error {
	objects, err := one.objects()
	if err != nil {
		return err
	}
	c.out.kept = append(c.out.kept, objects)
	c.out.Objects = append(c.out.Objects, *objects...)
	c.out.SourceTypes = append(c.out.SourceTypes, one.kind)
	c.digests = append(c.digests, one.digest...)
	if one.unstable {
		c.out.Warnings = append(c.out.Warnings, fmt.Sprintf(
			"NonDeterministicRender: source %d gave different manifests for the same inputs: look for random values, dates and generated certificates, and take them from a Secret or a value instead", len(c.out.SourceTypes)))
	}
	return nil
}

func (c *collected) manifests() *Manifests {
	c.out.Revisions, c.out.Digest = c.revisions, contentDigest(c.digests)
	return &c.out
}

func onlyRef(src v1alpha1.ApplicationSource) bool {
	return src.Ref != "" && src.Path == "" && src.Chart == ""
}

// Decide gives the digest that Generate would give, when that is known without
// rendering anything.
func (s *Service) Decide(ctx context.Context, q Query, revisions []string) (digest string, known bool, err error) {
	p, err := s.plan(ctx, &q, revisions)
	if err != nil {
		return "", false, err
	}
	all := make([]byte, 0, 256)
	for i, src := range q.Sources {
		if onlyRef(src) {
			continue
		}
		w, err := s.work(p, i)
		if err != nil {
			return "", false, err
		}
		found, ok := s.cache.find(ctx, s, w)
		if !ok {
			if found, ok = s.load(ctx, w); !ok {
				return "", false, nil
			}
		}
		s.reused.Inc()
		if found.err != nil {
			return "", false, found.err
		}
		all = append(all, found.digest...)
	}
	return contentDigest(all), true, nil
}

// SettingsChanged makes every repository be opened again, with the credentials
// that are declared now.
func (s *Service) SettingsChanged() { s.trees.clear() }

// Forget empties the memory, as if the process had been started again.
func (s *Service) Forget() {
	s.cache.clear()
	s.trees.clear()
}
