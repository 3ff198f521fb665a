package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// DispatchOptions of a Dispatcher.
type DispatchOptions struct {
	Index *Index
	// Changed asks the host for the files of a push that does not list them;
	// nil never does.
	Changed func(context.Context, Push) ([]string, error)
	// Hint tells the mirrors of this process about a push, and gives how many
	// follow it here; nil is a process without mirrors.
	Hint func(repo.Push) int
	// HintSets tells the generators of this process; nil is a process without:
	// then the sets that Sets lists are looked at here.
	HintSets func(context.Context, appset.Event) error
	Sets     func() []*v1alpha1.ApplicationSet
	// World is what the generators of those sets read, as far as this process
	// knows it: clusters and the engine of templates.
	World func() appset.World
	// Mark merges annotations into an Application or ApplicationSet.
	Mark func(ctx context.Context, o client.Object, annotations map[string]string) error
	// Config is argocd-cm.
	Config func() map[string]string
	// Random gives a number from 0 up to and without n.
	Random func(n int64) int64
	// Queue is how many events may wait (default 50,000), Workers how many are
	// looked at and Writers how many objects are written at a time (defaults 50
	// and 20).
	Queue, Workers, Writers int
	Log                     *slog.Logger
	Clock                   clock.WithTicker
}

// Dispatcher makes those look again whom an event concerns.
type Dispatcher struct {
	DispatchOptions
	events chan Event
	marks  workqueue.TypedDelayingInterface[target]
	// questions has a place for each question to a host.
	questions chan struct{}

	mu     sync.Mutex
	marked map[target]time.Time
}

// Kinds of objects that are marked.
const (
	kindApp = "Application"
	kindSet = "ApplicationSet"
)

// target is an object that is to be marked.
type target struct {
	kind    string
	key     types.NamespacedName
	hydrate bool
}

// between is the shortest time from one mark of an object to the next.
const between = 2 * time.Second

// NewDispatcher makes a Dispatcher; Run does its work.
func NewDispatcher(o DispatchOptions) *Dispatcher {
	if o.Queue == 0 {
		o.Queue = 50_000
	}
	if o.Workers == 0 {
		o.Workers = 50
	}
	if o.Writers == 0 {
		o.Writers = 20
	}
	return &Dispatcher{
		DispatchOptions: o, events: make(chan Event, o.Queue), marked: map[target]time.Time{}, questions: make(chan struct{}, maxQuestions),
		marks: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[target]{Name: "webhook", Clock: o.Clock}),
	}
}

// Accept takes an event over; false when there is no room.
func (d *Dispatcher) Accept(e Event) bool {
	select {
	case d.events <- e:
		return true
	default:
		return false
	}
}

// Run works until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range d.Workers {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case e := <-d.events:
					d.safely(func() { d.dispatch(ctx, e) })
				}
			}
		})
	}
	for range d.Writers {
		all.Go(func() {
			for d.write(ctx) {
			}
		})
	}
	<-ctx.Done()
	d.marks.ShutDown()
	all.Wait()
}

// safely keeps one event from ending the work on all.
func (d *Dispatcher) safely(do func()) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.Error("an event of a webhook failed unexpectedly", "panic", fmt.Sprint(p))
		}
	}()
	do()
}

func (d *Dispatcher) dispatch(ctx context.Context, e Event) {
	var apps []Mark
	for _, p := range e.Pushes {
		if d.Hint != nil && d.Hint(p.Push) > 0 {
			continue // the mirror asks at once, and tells everybody who follows it
		}
		apps = append(apps, d.Index.Concerned(d.complete(ctx, p))...)
	}
	for _, i := range e.Images {
		apps = append(apps, d.Index.Published(i)...)
	}
	jitter := d.jitter(len(apps))
	for _, m := range apps {
		t := target{kind: kindApp, key: m.Key, hydrate: m.Hydrate}
		if jitter > 0 {
			d.marks.AddAfter(t, time.Duration(d.Random(int64(jitter))))
			continue
		}
		d.marks.Add(t)
	}
	d.Log.Debug("an event of a webhook", "provider", e.Provider, "pushes", len(e.Pushes), "applications", len(apps))
	for _, ev := range e.generators() {
		if err := d.sets(ctx, ev); err != nil {
			d.Log.Error("ApplicationSets are not told of an event", "provider", e.Provider, "error", err.Error())
		}
	}
}

// complete asks for the files of a push, when it makes a difference to know them.
// Without an answer any file may have changed.
func (d *Dispatcher) complete(ctx context.Context, p Push) Push {
	if d.Changed == nil || p.Range == nil || p.Files != nil {
		return p
	}
	none := p
	if none.Files = []string{}; len(d.Index.Concerned(none)) == len(d.Index.Concerned(p)) {
		return p
	}
	select {
	case d.questions <- struct{}{}:
		defer func() { <-d.questions }()
	case <-ctx.Done():
		return p
	}
	changed, err := d.Changed(ctx, p)
	if err != nil {
		d.Log.Warn("the host does not say what a push changed: every Application of the branch looks again", "repo", repo.Locator(p.URL), "error", err.Error())
		return p
	}
	p.Files = changed
	return p
}

// generators are the events that generators understand.
func (e Event) generators() []appset.Event {
	var out []appset.Event
	for i := range e.Pushes {
		out = append(out, appset.Event{Push: &e.Pushes[i].Push})
	}
	if e.Pull != nil {
		out = append(out, appset.Event{PullRequest: e.Pull})
	}
	return out
}

// jitter is how far marks of one event are spread (spec/config.md §2.3).
func (d *Dispatcher) jitter(n int) time.Duration {
	cm := d.Config()
	threshold, err := strconv.Atoi(strings.TrimSpace(cm["webhook.refresh.jitter.threshold"]))
	if err != nil || threshold < 0 {
		threshold = 10
	}
	length, ok := account.Duration(strings.TrimSpace(cm["webhook.refresh.jitter"]))
	if !ok || n <= threshold {
		return 0
	}
	return length
}

func (d *Dispatcher) sets(ctx context.Context, ev appset.Event) error {
	if d.HintSets != nil {
		return d.HintSets(ctx, ev)
	}
	return d.markSets(ev)
}

// markSets marks the sets that an event concerns, as far as can be told here.
func (d *Dispatcher) markSets(ev appset.Event) error {
	w := d.World()
	w.Outside, w.Tree = nobody{}, func(string, string) (tree.Tree, error) { return nil, errElsewhere }
	if w.Go == nil {
		w.Go = nobody{}
	}
	for _, set := range d.Sets() {
		if set.DeletionTimestamp == nil && appset.Concerns(set, ev, w) {
			d.marks.Add(target{kind: kindSet, key: client.ObjectKeyFromObject(set)})
		}
	}
	return nil
}

// write marks the next object; false ends it.
func (d *Dispatcher) write(ctx context.Context) bool {
	t, over := d.marks.Get()
	if over {
		return false
	}
	defer d.marks.Done(t)
	if wait := d.wait(t); wait > 0 {
		d.marks.AddAfter(t, wait)
		return true
	}
	o, annotations := t.mark(d.Clock.Now())
	err := d.Mark(ctx, o, annotations)
	if err = client.IgnoreNotFound(err); err != nil && ctx.Err() == nil {
		d.Log.Warn("an object is not told of an event", "object", t.kind+"/"+t.key.String(), "error", err.Error())
		d.marks.AddAfter(t, between)
	}
	return true
}

// wait is how long an object must be left alone; zero marks it now.
func (d *Dispatcher) wait(t target) time.Duration {
	now := d.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, known := d.marked[t]; known && now.Sub(at) < between {
		return between - now.Sub(at)
	}
	if len(d.marked) > 100_000 { // of objects that may be gone
		clear(d.marked)
	}
	d.marked[t] = now
	return 0
}

func (t target) mark(now time.Time) (client.Object, map[string]string) {
	if t.kind == kindSet {
		o := &v1alpha1.ApplicationSet{}
		o.Namespace, o.Name = t.key.Namespace, t.key.Name
		return o, map[string]string{v1alpha1.AnnotationAppSetRefresh: now.UTC().Format(time.RFC3339Nano)}
	}
	o := &v1alpha1.Application{}
	o.Namespace, o.Name = t.key.Namespace, t.key.Name
	annotations := map[string]string{v1alpha1.AnnotationRefresh: string(v1alpha1.RefreshNormal)}
	if t.hydrate {
		annotations[v1alpha1.AnnotationHydrate] = string(v1alpha1.RefreshNormal)
	}
	return o, annotations
}

// Annotate is Mark on a hub.
func Annotate(c client.Client) func(context.Context, client.Object, map[string]string) error {
	return func(ctx context.Context, o client.Object, annotations map[string]string) error {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		return c.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch))
	}
}

// errElsewhere is what this process answers in place of the generators.
var errElsewhere = errors.New("generators run in another process")

// nobody answers nothing: what a generator would say is not known here.
type nobody struct{}

// Repositories has no answer.
func (nobody) Repositories(*v1alpha1.SCMProviderGenerator) (appset.Listing, error) {
	return appset.Listing{}, errElsewhere
}

// PullRequests has no answer.
func (nobody) PullRequests(*v1alpha1.PullRequestGenerator) ([]appset.PullRequest, error) {
	return nil, errElsewhere
}

// Decisions has no answer.
func (nobody) Decisions(*v1alpha1.DuckTypeGenerator) (appset.Decisions, error) {
	return appset.Decisions{}, errElsewhere
}

// Service has no answer.
func (nobody) Service(*v1alpha1.PluginGenerator) ([]map[string]any, error) { return nil, errElsewhere }

// Render has no answer.
func (nobody) Render(string, map[string]any, []string) (string, error) { return "", errElsewhere }
