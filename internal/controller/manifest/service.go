package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Options of a Service.
type Options struct {
	Mirrors *gitrepo.Mirrors
	// Repository tells what is declared about a URL for a project.
	Repository func(url, project string) repo.Repository
	// Setting reads a key of argocd-cm; empty when absent.
	Setting    func(key string) string
	Timeout    time.Duration // of one render; default 60 s
	Clock      clock.Clock
	Registerer prometheus.Registerer
}

// Query is an Application's sources with what they are rendered for.
type Query struct {
	App         render.App
	Sources     []v1alpha1.ApplicationSource
	KubeVersion string
	APIVersions []string
	// Hard ignores cached results.
	Hard bool
}

// Manifests is what an Application should consist of.
type Manifests struct {
	// Objects are shared: callers must not change them.
	Objects     []*unstructured.Unstructured
	Revisions   []string
	SourceTypes []string
	// Digest of the objects in order: equal digests mean equal manifests.
	Digest string
}

// Service renders Applications. It is safe for concurrent use.
type Service struct {
	options Options
	slots   *semaphore.Weighted
	flight  singleflight.Group
	cache   *results
	renders *prometheus.CounterVec
	seconds prometheus.Histogram
}

// New makes a Service.
func New(o Options) *Service {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	s := &Service{
		options: o, slots: semaphore.NewWeighted(int64(2 * runtime.GOMAXPROCS(0))), cache: newResults(o.Clock),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_app_manifest_renders_total", Help: "Renders by result: rendered, reused or failed.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "argocd_app_manifest_render_seconds", Help: "Duration of renders.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
	}
	o.Registerer.MustRegister(s.renders, s.seconds)
	return s
}

func (s *Service) repository(url, project string) repo.Repository {
	return s.options.Repository(url, project)
}

// Resolve gives the commit of a source. Unless fresh, the poller's last answer
// counts; the remote is asked when there is none.
func (s *Service) Resolve(ctx context.Context, project string, src v1alpha1.ApplicationSource, fresh bool) (string, error) {
	if err := supported(src); err != nil {
		return "", err
	}
	return s.options.Mirrors.Resolve(ctx, s.repository(src.RepoURL, project), target(src), fresh)
}

func target(src v1alpha1.ApplicationSource) gitrepo.Target {
	return gitrepo.Target{Revision: src.TargetRevision, TagPrefix: src.TagPrefix}
}

func supported(src v1alpha1.ApplicationSource) error {
	switch {
	case src.RepoURL == "":
		return fmt.Errorf("spec.source.repoURL is empty: set it to the URL of a Git repository")
	case src.Chart != "":
		return fmt.Errorf("spec.source.chart: charts from Helm repositories are not available yet: commit the chart and use spec.source.path")
	case len(src.RepoURL) > 6 && src.RepoURL[:6] == "oci://":
		return fmt.Errorf("spec.source.repoURL: OCI sources are not available yet: use a Git repository")
	case src.Path == "" && src.Ref == "":
		return fmt.Errorf("spec.source.path is empty: set it to a folder of the repository, \".\" for its root")
	}
	return nil
}

// Subscribe calls notify when the source resolves differently than before.
func (s *Service) Subscribe(project string, src v1alpha1.ApplicationSource, notify func()) (cancel func(), err error) {
	return s.options.Mirrors.Follow(func() repo.Repository { return s.repository(src.RepoURL, project) }, target(src), notify)
}

// Tree reads a revision of a repository, for generators.
func (s *Service) Tree(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error) {
	r := s.repository(repoURL, project)
	id, err := s.options.Mirrors.Resolve(ctx, r, gitrepo.Target{Revision: revision}, fresh)
	if err != nil {
		return nil, err
	}
	return s.options.Mirrors.Tree(ctx, r, id)
}

// Generate renders all sources at the revisions, one per source.
func (s *Service) Generate(ctx context.Context, q Query, revisions []string) (*Manifests, error) {
	if len(revisions) != len(q.Sources) {
		return nil, fmt.Errorf("got %d revisions for %d sources", len(revisions), len(q.Sources))
	}
	trees := make([]tree.Tree, len(q.Sources))
	refs := map[string]int{}
	for i, src := range q.Sources {
		t, err := s.options.Mirrors.Tree(ctx, s.repository(src.RepoURL, q.App.Project), revisions[i])
		if err != nil {
			return nil, err
		}
		trees[i] = t
		if src.Ref != "" {
			if _, twice := refs[src.Ref]; twice {
				return nil, fmt.Errorf("spec.sources: ref %q is used twice: give each source its own", src.Ref)
			}
			refs[src.Ref] = i
		}
	}
	out := &Manifests{Revisions: revisions}
	sum := sha256.New()
	for i, src := range q.Sources {
		if src.Ref != "" && src.Path == "" {
			out.SourceTypes = append(out.SourceTypes, "")
			continue
		}
		one, err := s.source(ctx, q, i, work{trees, refs, revisions[i]})
		if err != nil {
			return nil, err
		}
		out.Objects = append(out.Objects, one.objects...)
		out.SourceTypes = append(out.SourceTypes, one.kind)
		sum.Write([]byte(one.digest))
	}
	out.Digest = hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

// work is what the sources of one query share.
type work struct {
	trees    []tree.Tree
	refs     map[string]int
	revision string
}

// source renders one source or finds a result that is still valid.
func (s *Service) source(ctx context.Context, q Query, i int, w work) (*result, error) {
	key, err := s.key(q, i)
	if err != nil {
		return nil, err
	}
	f := facts{q, q.Sources[i].TargetRevision, w.revision}
	if found, ok := s.cache.find(key, f, w); ok && !q.Hard {
		s.renders.WithLabelValues("reused").Inc()
		return found, found.err
	}
	v, err, _ := s.flight.Do(key+f.digest(everything), func() (any, error) { return s.render(ctx, q, i, w, key) })
	if err != nil {
		return nil, err
	}
	return v.(*result), nil
}

func (s *Service) render(ctx context.Context, q Query, i int, w work, key string) (*result, error) {
	bounded, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if err := s.slots.Acquire(bounded, 1); err != nil {
		return nil, fmt.Errorf("waiting for a free renderer: %w", err)
	}
	defer s.slots.Release(1)
	recorders := make([]*render.Recorder, len(w.trees))
	for n, t := range w.trees {
		recorders[n] = render.NewRecorder(t)
	}
	refs := map[string]tree.Tree{}
	for name, n := range w.refs {
		refs[name] = recorders[n]
	}
	f := facts{q, q.Sources[i].TargetRevision, w.revision}
	begin := s.options.Clock.Now()
	rendered, err := render.Render(bounded, render.Request{
		App: q.App, Source: q.Sources[i], Revision: w.revision, Tree: recorders[i], Refs: refs,
		KubeVersion: q.KubeVersion, APIVersions: q.APIVersions,
		KustomizeDisabled: s.off("kustomize.enable"), HelmDisabled: s.off("helm.enable"),
	})
	s.seconds.Observe(s.options.Clock.Since(begin).Seconds())
	r := &result{kind: rendered.Type, objects: rendered.Objects, err: err, at: s.options.Clock.Now(), revision: w.revision, used: rendered.Used}
	for _, rec := range recorders {
		r.reads = append(r.reads, rec.Reads())
	}
	if err != nil {
		s.renders.WithLabelValues("failed").Inc()
		if bounded.Err() == nil {
			s.cache.add(key, f, r)
		}
		return nil, err
	}
	raw, err := json.Marshal(rendered.Objects)
	if err != nil {
		return nil, fmt.Errorf("rendered objects: %w", err)
	}
	r.size = len(raw)
	digest := sha256.Sum256(raw)
	r.digest = hex.EncodeToString(digest[:])
	s.renders.WithLabelValues("rendered").Inc()
	s.cache.add(key, f, r)
	return r, nil
}

func (s *Service) off(key string) bool {
	v := s.options.Setting(key)
	return v != "" && v != "true"
}

// key names what a render always depends on besides what it reads. What it
// may depend on is in facts; where revisions come from is left out, so that
// two branches with the same files share a result.
func (s *Service) key(q Query, i int) (string, error) {
	sources := slices.Clone(q.Sources)
	for n := range sources {
		sources[n].TargetRevision = ""
	}
	raw, err := json.Marshal([]any{q.App.Project, sources, i, s.off("kustomize.enable"), s.off("helm.enable")})
	if err != nil {
		return "", fmt.Errorf("spec.source: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
