package application

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
)

// keep lets the renderer keep what the history refers to, when that is new to
// this process: a rollback then needs neither Git nor a renderer.
func (p *pass) keep(ctx context.Context) {
	history := p.app.Status.History
	if len(history) == 0 {
		return
	}
	state := fmt.Sprint(p.app.UID, len(history), history[len(history)-1].ID)
	p.mu.Lock()
	same := p.kept[p.key] == state
	p.mu.Unlock()
	if same {
		return
	}
	var past []manifest.Deployment
	for i := range history {
		past = append(past, p.deployment(&history[i]))
	}
	if err := p.Manifests.Keep(ctx, p.key.String(), past); err != nil {
		p.log.Warn("deployments are not kept for a rollback", "error", err.Error())
		return
	}
	p.mu.Lock()
	p.kept[p.key] = state
	p.mu.Unlock()
}

// deployment is an entry of the history as the renderer knew it.
func (p *pass) deployment(h *v1alpha1.RevisionHistory) manifest.Deployment {
	sources, revisions := h.Sources, h.Revisions
	if len(sources) == 0 {
		sources, revisions = []v1alpha1.ApplicationSource{h.Source}, []string{h.Revision}
	}
	q := p.query(sources)
	q.Hard, q.Retry = false, false
	return manifest.Deployment{Query: q, Revisions: revisions}
}

// letGo lets the renderer forget the deployments of an Application that is no
// more.
func (c *Controller) letGo(ctx context.Context, key types.NamespacedName) {
	c.mu.Lock()
	delete(c.kept, key)
	c.mu.Unlock()
	if err := c.Manifests.Keep(ctx, key.String(), nil); err != nil {
		c.Log.Warn("deployments of a deleted Application stay in the cache", "application", key.String(), "error", err.Error())
	}
}
