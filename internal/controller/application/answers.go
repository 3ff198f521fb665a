package application

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
)

// Answers tells of Applications what their controller would, in a process that
// runs none: it looks by itself when it is asked, reconciles nothing and writes
// nothing to the hub.
type Answers struct {
	c *Controller

	mu        sync.Mutex
	listening bool
}

var _ inspect.Reader = (*Answers)(nil)

// NewAnswers makes Answers. Of the options Client, Recorder, Watches, NewID and
// SyncTimeout are not used.
func NewAnswers(o Options) *Answers {
	c := New(o)
	c.answersOnly = true
	c.Clusters.Leave(func(kind schema.GroupKind, server string) bool {
		return c.systemRules().filter.Excluded(kind.Group, kind.Kind, server)
	})
	c.Clusters.OnChange(func(ch cluster.Change) {
		c.mu.Lock()
		key, ok := c.byInstance[ch.Instance]
		c.mu.Unlock()
		switch {
		case ch.Instance == "":
			for _, key := range c.lanes.on(ch.Server) {
				c.watchers.tell(key)
			}
		case ok:
			c.watchers.tell(key)
		}
	})
	return &Answers{c: c}
}

// Times of one look: for a cluster to answer at all, and for its objects.
const (
	meetTimeout   = 10 * time.Second
	gatherTimeout = 30 * time.Second
)

// meet begins a pass that only reads, when the cluster has answered or failed
// to.
func (a *Answers) meet(ctx context.Context, seen inspect.Seen) (*pass, error) {
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	p, err := a.c.inspect(ctx, seen)
	if err != nil {
		return nil, err
	}
	a.c.mu.Lock()
	a.c.byInstance[p.instance] = seen.NamespacedName
	a.c.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	p.conn.Await(bounded)
	return p, nil
}

// listen hears what arrives in the cache of the hub, from the first question on.
func (a *Answers) listen(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listening {
		return nil
	}
	apps, err := a.c.Cache.GetInformer(ctx, &v1alpha1.Application{})
	if err == nil {
		_, err = apps.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: a.c.caughtUp, UpdateFunc: func(_, after any) { a.c.caughtUp(after) },
		})
	}
	if err != nil {
		return fmt.Errorf("watch Applications: %w", err)
	}
	a.listening = true
	return nil
}

// gather looks at what the Application consists of as its status says. A
// cluster that does not answer has nothing to look at.
func (a *Answers) gather(ctx context.Context, seen inspect.Seen) error {
	p, err := a.meet(ctx, seen)
	if err != nil || p.conn.State().Status != cluster.StatusSuccessful {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	w := cluster.Want{Instance: p.instance, Before: p.managedBefore(), Respect: p.respects()}
	for _, n := range w.Before {
		t := &unstructured.Unstructured{}
		t.SetGroupVersionKind(n.GroupVersionKind)
		t.SetNamespace(n.Namespace)
		t.SetName(n.Name)
		w.Targets = append(w.Targets, t)
	}
	w.Children = p.childKinds(w)
	return p.conn.Gather(bounded, w)
}

// Resources implements inspect.Reader.
func (a *Answers) Resources(ctx context.Context, seen inspect.Seen) ([]inspect.Resource, error) {
	if _, err := a.meet(ctx, seen); err != nil {
		return nil, err
	}
	return a.c.Resources(ctx, seen)
}

// Tree implements inspect.Reader. Of a cluster that does not answer it tells
// what the status says.
func (a *Answers) Tree(ctx context.Context, seen inspect.Seen) (inspect.Tree, error) {
	if err := a.gather(ctx, seen); err != nil {
		return inspect.Tree{}, err
	}
	return a.c.Tree(ctx, seen)
}

// Object implements inspect.Reader.
func (a *Answers) Object(ctx context.Context, seen inspect.Seen, o inspect.Object) (*unstructured.Unstructured, error) {
	if err := a.gather(ctx, seen); err != nil {
		return nil, err
	}
	return a.c.Object(ctx, seen, o)
}

// Reconciled is what the status of an Application would say after a comparison
// now, with Git asked anew: the answer of a rehearsal (spec/cli.md §6). Nothing
// is written, no operation is begun or carried on. What cannot be compared says
// why in its conditions; an error is that there is no such Application.
func (a *Answers) Reconciled(ctx context.Context, seen inspect.Seen) (*v1alpha1.ApplicationStatus, error) {
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	app, err := a.c.since(ctx, seen)
	if err != nil {
		return nil, err
	}
	p := newPass(a.c, app, a.c.Log.With("application", seen.String()))
	p.refresh = v1alpha1.RefreshNormal
	if err := p.locate(ctx); err != nil {
		p.unknown(specConditions, condition(v1alpha1.ConditionInvalidSpecError, err.Error()))
		return &p.app.Status, nil
	}
	bounded, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	if state := p.conn.Await(bounded); state.Status != cluster.StatusSuccessful {
		p.unknown(compareConditions, condition(v1alpha1.ConditionComparisonError, "Failed to load live state: "+p.silence(state)))
		return &p.app.Status, nil
	}
	p.compare(ctx)
	return &p.app.Status, ctx.Err()
}

// Watch implements inspect.Reader.
func (a *Answers) Watch(key types.NamespacedName, notify func()) (cancel func()) {
	return a.c.Watch(key, notify)
}

// respects says what becomes of kinds that may not be listed. Who asks with
// rights of his own is told of what he may see.
func (p *pass) respects() kindfilter.Respect {
	if r := p.systemRules().respect; r != kindfilter.RespectOff || !p.answersOnly {
		return r
	}
	return kindfilter.RespectNormal
}

// Scope are the namespaces in which an Application has, or had, objects; false
// when that is not known, because nobody has looked at it yet.
func Scope(app *v1alpha1.Application) (namespaces map[string]bool, known bool) {
	if app.Status.ReconciledAt == nil || app.Spec.Destination.Namespace == "" && len(app.Status.Resources) == 0 {
		return nil, false
	}
	namespaces = map[string]bool{app.Spec.Destination.Namespace: true}
	for _, r := range app.Status.Resources {
		namespaces[r.Namespace] = true
	}
	if s := app.Status.OperationState; s != nil && s.SyncResult != nil {
		for _, r := range s.SyncResult.Resources {
			namespaces[r.Namespace] = true
		}
	}
	delete(namespaces, "") // of objects without one
	return namespaces, len(namespaces) > 0
}
