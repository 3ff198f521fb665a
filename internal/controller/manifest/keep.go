package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// Deployment is something that was deployed: sources at their revisions.
type Deployment struct {
	Query     Query    `json:"query"`
	Revisions []string `json:"revisions"`
}

// kept is what a deployment consisted of, so that it can be had again when
// neither its repository nor a renderer answers.
type kept struct {
	// Roots are those of the trees, one per source.
	Roots   []string     `json:"roots"`
	Sources []keptSource `json:"sources"`
}

type keptSource struct {
	Index int    `json:"index"`
	Key   string `json:"key"`
	stored
}

// keptName names a deployment: who deployed which sources at which revisions.
// The cluster and the settings are no part of it: what was deployed is what
// comes back.
func keptName(p *plan) string {
	n := make(naming, 0, 1024).put(p.App.Project, p.App.Name, p.App.Instance, p.App.Namespace, p.sources)
	return "kept/" + n.put(p.revisions...).name()
}

// Keep keeps the manifests of deployments on disk until the same holder names
// others; none lets all go. What is not rendered at the moment is not rendered
// for this: it is kept if it was kept before.
func (s *Service) Keep(ctx context.Context, holder string, past []Deployment) error {
	if s.options.Store == nil {
		return nil
	}
	var hold []string
	for _, d := range past {
		if len(d.Query.Sources) != len(d.Revisions) {
			continue // of another form of the spec
		}
		p := &plan{Query: &d.Query, revisions: d.Revisions}
		if err := p.canonical(); err != nil {
			return err
		}
		name := keptName(p)
		one, known := s.kept(ctx, name)
		if !known {
			if one, known = s.gather(ctx, p); !known {
				continue
			}
		}
		names := one.names(name)
		hold = append(hold, names...)
		s.options.Store.Hold(holder, slices.Clone(hold)) // before it is put: nothing may push it out
		if err := s.put(ctx, name, one); err != nil {
			return err
		}
	}
	s.options.Store.Hold(holder, hold)
	return nil
}

// names are the entries that a deployment needs.
func (k *kept) names(name string) []string {
	out := []string{name}
	for _, one := range k.Sources {
		out = append(out, "objects/"+one.Digest)
	}
	return out
}

// kept reads a deployment from the store.
func (s *Service) kept(ctx context.Context, name string) (*kept, bool) {
	raw, ok := s.options.Store.Get(ctx, name)
	if !ok {
		return nil, false
	}
	k := &kept{}
	if err := json.Unmarshal(raw, k); err != nil {
		return nil, false // written by another version
	}
	return k, true
}

// gather makes the record of a deployment whose results and trees are at hand.
func (s *Service) gather(ctx context.Context, p *plan) (*kept, bool) {
	q := *p.Query
	for i, src := range q.Sources {
		if _, known := s.trees.get(treeKey{q.App.Project, src.RepoURL, src.Chart, p.revisions[i]}); !known {
			return nil, false
		}
	}
	full, err := s.plan(ctx, &q, p.revisions)
	if err != nil {
		return nil, false
	}
	k := &kept{}
	for _, a := range full.anchors {
		k.Roots = append(k.Roots, a.root)
	}
	for i, src := range q.Sources {
		if onlyRef(src) {
			continue
		}
		w, err := s.work(full, i)
		if err != nil {
			return nil, false
		}
		r, ok := s.cache.find(ctx, s, w)
		if !ok || r.err != nil {
			return nil, false
		}
		k.Sources = append(k.Sources, keptSource{i, w.key, r.stored(w.facts.digest(r.used))})
		if _, there := s.options.Store.Get(ctx, "objects/"+r.digest); !there {
			s.options.Store.Put(ctx, "objects/"+r.digest, r.content)
		}
	}
	return k, true
}

func (s *Service) put(ctx context.Context, name string, k *kept) error {
	if _, there := s.options.Store.Get(ctx, name); there {
		return nil
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return err
	}
	s.options.Store.Put(ctx, name, raw)
	return nil
}

// recall finds a source of a deployment that was kept, if the trees, the
// settings and all other facts are those of then: nothing has to be read.
func (s *Service) recall(ctx context.Context, w *work) (*result, bool) {
	if s.options.Store == nil {
		return nil, false
	}
	k, ok := s.kept(ctx, keptName(w.plan))
	if !ok || len(k.Roots) != len(w.anchors) {
		return nil, false
	}
	for i, root := range k.Roots {
		if root == "" || w.anchors[i].root != root {
			return nil, false
		}
	}
	at := slices.IndexFunc(k.Sources, func(one keptSource) bool { return one.Index == w.i })
	if at < 0 || k.Sources[at].Key != w.key || k.Sources[at].Name != w.facts.digest(k.Sources[at].Used) {
		return nil, false
	}
	r, ok := s.restore(ctx, k.Sources[at].stored)
	if !ok || len(r.remote) > 0 && !r.remote.Unchanged(ctx, w.outside) {
		return nil, false
	}
	r.anchors = w.anchors
	s.cache.add(w.key, k.Sources[at].Name, r)
	return r, true
}

// restore reads the objects of a stored result.
func (s *Service) restore(ctx context.Context, one stored) (*result, bool) {
	content, ok := s.options.Store.Get(ctx, "objects/"+one.Digest)
	if !ok || contentDigest(content) != one.Digest {
		return nil, false
	}
	return &result{kind: one.Kind, digest: one.Digest, content: content, used: one.Used, reads: one.Reads, remote: one.Remote, unstable: one.Unstable}, true
}

// again gives what a deployment consisted of without its trees, which could
// not be opened. Errors of the spec itself are not made good by it.
func (s *Service) again(ctx context.Context, q *Query, revisions []string, why error) (*Manifests, error) {
	if s.options.Store == nil || q.Hard || q.Local != nil || errors.Is(why, context.Canceled) {
		return nil, why
	}
	p := &plan{Query: q, revisions: revisions}
	if err := p.canonical(); err != nil {
		return nil, why
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	k, ok := s.kept(ctx, keptName(p))
	if !ok {
		return nil, why
	}
	c := collected{revisions: revisions}
	for i, src := range q.Sources {
		if onlyRef(src) {
			c.skip()
			continue
		}
		at := slices.IndexFunc(k.Sources, func(one keptSource) bool { return one.Index == i })
		if at < 0 {
			return nil, why
		}
		r, ok := s.restore(ctx, k.Sources[at].stored)
		if !ok {
			return nil, why
		}
		if err := c.add(r); err != nil {
			return nil, why
		}
	}
	s.recalled.Inc()
	s.options.Log.Warn("a source could not be read: what was deployed before is used", "application", q.App.Instance, "project", q.App.Project, "error", why.Error())
	return c.manifests(), nil
}
