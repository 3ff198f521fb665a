package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// plan is a query with the trees of its sources.
type plan struct {
	*Query
	revisions []string
	anchors   []anchor
	refs      map[string]int
	sources   string // canonical, without revisions
}

func (s *Service) plan(ctx context.Context, q *Query, revisions []string) (*plan, error) {
	if len(revisions) != len(q.Sources) {
		return nil, fmt.Errorf("got %d revisions for %d sources", len(revisions), len(q.Sources))
	}
	p := &plan{Query: q, revisions: revisions, anchors: make([]anchor, len(q.Sources))}
	for i, src := range q.Sources {
		if err := supported(src); err != nil {
			return nil, err
		}
		if i == 0 && q.Local != nil {
			p.anchors[0] = anchorOf(q.Local)
			continue
		}
		key := treeKey{q.App.Project, src.RepoURL, src.Chart, revisions[i]}
		known, ok := s.trees.get(key)
		if !ok || q.Hard {
			t, err := s.open(ctx, q.App.Project, src, revisions[i])
			if err != nil {
				return nil, err
			}
			known = anchorOf(t)
			s.trees.put(key, known)
		}
		p.anchors[i] = known
		if src.Ref == "" {
			continue
		}
		if _, twice := p.refs[src.Ref]; twice {
			return nil, fmt.Errorf("spec.sources: ref %q is used twice: give each source its own", src.Ref)
		}
		if p.refs == nil {
			p.refs = map[string]int{}
		}
		p.refs[src.Ref] = i
	}
	return p, p.canonical()
}

// canonical names the sources without their revisions, so that two branches
// with the same files share a result.
func (p *plan) canonical() error {
	sources := make([]v1alpha1.ApplicationSource, len(p.Sources))
	for i, src := range p.Sources {
		src.TargetRevision, src.Name = "", ""
		sources[i] = src
	}
	raw, err := json.Marshal(sources)
	if err != nil {
		return fmt.Errorf("spec.source: %w", err)
	}
	p.sources = string(raw)
	return nil
}

// work is one source of a plan.
type work struct {
	*plan
	i        int
	key      string
	facts    facts
	settings render.Settings
	outside  *outside
}

func (s *Service) work(p *plan, i int) (*work, error) {
	src := p.Sources[i]
	settings, err := s.toolSettings(src)
	if err != nil {
		return nil, err
	}
	n := make(naming, 0, 1024).put(render.Version, p.App.Project, p.sources, strconv.Itoa(i), settings.Fingerprint(), s.pluginNames())
	if s.options.Plugins != nil {
		n = n.put(p.GeneratePaths) // what a plugin counts as having read
	}
	return &work{
		plan: p, i: i, key: n.name(), settings: settings,
		facts:   facts{p.Query, src.TargetRevision, p.revisions[i]},
		outside: &outside{s, p.App.Project, src.RepoURL, src.Helm != nil && src.Helm.PassCredentials},
	}, nil
}

// source renders one source or finds a result that is still valid.
func (s *Service) source(ctx context.Context, p *plan, i int) (*result, error) {
	w, err := s.work(p, i)
	if err != nil {
		return nil, err
	}
	if p.Local != nil {
		return s.render(ctx, w)
	}
	if !p.Hard {
		found, ok := s.cache.find(ctx, s, w)
		if !ok {
			found, ok = s.load(ctx, w)
		}
		if !ok {
			found, ok = s.recall(ctx, w)
		}
		if ok && (found.err == nil || !p.Retry) {
			s.reused.Inc()
			return found, found.err
		}
	}
	flight := w.key + w.facts.digest(everything) + fmt.Sprint(p.revisions)
	done := s.flight.DoChan(flight, func() (any, error) { return s.render(context.WithoutCancel(ctx), w) })
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("spec.source: %w", ctx.Err())
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*result), nil
	}
}

// render renders and remembers one source.
func (s *Service) render(ctx context.Context, w *work) (*result, error) {
	recorders := make([]*render.Recorder, len(w.anchors))
	for n, a := range w.anchors {
		recorders[n] = render.NewRecorder(a.tree)
	}
	refs := map[string]tree.Tree{}
	for name, n := range w.refs {
		refs[name] = recorders[n]
	}
	far := render.NewRemoteRecorder(w.outside)
	begin := s.options.Clock.Now()
	request := render.Request{
		App: w.App, Source: w.Sources[w.i], Revision: w.facts.revision, Tree: recorders[w.i], Refs: refs,
		KubeVersion: w.KubeVersion, APIVersions: w.APIVersions, Settings: w.settings, Remote: far,
	}
	rendered, err := s.run(ctx, w, request, recorders[w.i])
	s.seconds.Observe(s.options.Clock.Since(begin).Seconds())
	r := &result{
		kind: rendered.Type, content: rendered.Objects, used: rendered.Used, remote: far.Reads(), revision: w.facts.revision, anchors: w.anchors, err: err,
	}
	for _, rec := range recorders {
		r.reads = append(r.reads, rec.Reads())
	}
	if err != nil {
		s.renders.WithLabelValues("failed").Inc()
		s.trees.drop(w.plan)
		if w.Local == nil && !errors.Is(err, context.Canceled) {
			r.used = everything // a failure is that of one Application
			r.remote = nil
			s.cache.failed(w, r)
			s.cache.add(w.key, w.facts.digest(r.used), r)
		}
		return nil, err
	}
	r.digest = contentDigest(r.content)
	s.renders.WithLabelValues("rendered").Inc()
	if w.Local == nil {
		for _, before := range s.cache.candidates(w.key, w.facts) {
			r.unstable = r.unstable || before.err == nil && r.differs(before.stored(""))
		}
		s.save(ctx, w, r)
		s.cache.add(w.key, w.facts.digest(r.used), r)
	}
	return r, nil
}
