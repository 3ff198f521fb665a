package syncplan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

const marker = "op-1/1"

// thing makes an object: kind/name, then annotations as key=value with the
// prefix argocd.argoproj.io/ left out.
func thing(id string, annotations ...string) *unstructured.Unstructured {
	kind, name, _ := strings.Cut(id, "/")
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion("v1")
	switch kind {
	case "Deployment":
		u.SetAPIVersion("apps/v1")
	case "Job":
		u.SetAPIVersion("batch/v1")
	}
	u.SetKind(kind)
	u.SetName(name)
	if kind != "Namespace" {
		u.SetNamespace("shop")
	}
	if len(annotations) > 0 {
		all := map[string]string{}
		for _, a := range annotations {
			k, v, _ := strings.Cut(a, "=")
			all["argocd.argoproj.io/"+k] = v
		}
		u.SetAnnotations(all)
	}
	return u
}

// operation plays an operation against a cluster in memory.
type operation struct {
	request syncplan.Request
	live    map[object.Key]*unstructured.Unstructured
	health  map[object.Key]health.Status
	results map[syncplan.TaskID]syncplan.Result
	// refuse is what the API server answers by name of an object.
	refuse map[string]string
	log    []string
	move   syncplan.Move
}

func start(targets ...*unstructured.Unstructured) *operation {
	o := &operation{
		live: map[object.Key]*unstructured.Unstructured{}, health: map[object.Key]health.Status{},
		results: map[syncplan.TaskID]syncplan.Result{}, refuse: map[string]string{},
		request: syncplan.Request{WithHooks: true, Revision: "abcdef0123", StartedAt: time.Unix(100, 0)},
	}
	for _, t := range targets {
		if _, hook := syncplan.HookPhases(t); hook {
			o.request.Hooks = append(o.request.Hooks, syncplan.Pair{Key: object.KeyOf(t), Target: t})
		} else {
			o.request.Pairs = append(o.request.Pairs, syncplan.Pair{Key: object.KeyOf(t), Target: t})
		}
	}
	return o
}

// surplus puts an object on the cluster that Git no longer has.
func (o *operation) surplus(u *unstructured.Unstructured) *operation {
	o.live[object.KeyOf(u)] = u
	o.request.Pairs = append(o.request.Pairs, syncplan.Pair{Key: object.KeyOf(u), Live: u})
	return o
}

// settle makes objects healthy, or what is said after a colon.
func (o *operation) settle(names ...string) {
	for _, n := range names {
		name, code, said := strings.Cut(n, ":")
		if !said {
			code = "Healthy"
		}
		for k := range o.live {
			if k.Name == name {
				o.health[k] = health.Status{Code: v1alpha1.HealthStatusCode(code), Message: "says the test"}
			}
		}
	}
}

// run goes on until the operation waits or ends, as a process would that is
// restarted before each step: only results and the cluster survive.
func (o *operation) run(t *testing.T) *operation {
	t.Helper()
	for range 100 {
		r := o.request
		r.Pairs, r.Hooks = o.observe(r.Pairs), o.observe(r.Hooks)
		o.move = syncplan.Next(syncplan.State{
			Tasks: syncplan.Tasks(r), Results: maps.Clone(o.results), Marker: marker,
			Health: func(k object.Key) (health.Status, bool) {
				h, known := o.health[k]
				if !known && k.Kind != "ConfigMap" {
					return health.Status{Code: health.Progressing}, o.live[k] != nil
				}
				return h, known
			},
		})
		maps.Copy(o.results, o.move.Results)
		if len(o.move.Groups) == 0 {
			return o
		}
		for _, group := range o.move.Groups {
			if !o.perform(group) {
				break
			}
		}
	}
	t.Fatalf("the operation does not come to rest: %v", o.log)
	return o
}

func (o *operation) observe(pairs []syncplan.Pair) []syncplan.Pair {
	out := slices.Clone(pairs)
	for i := range out {
		out[i].Live = o.live[out[i].Key]
	}
	return slices.DeleteFunc(out, func(p syncplan.Pair) bool { return p.Target == nil && p.Live == nil })
}

// perform carries out one group; false when something in it failed.
func (o *operation) perform(group []syncplan.Act) bool {
	var words []string
	ok := true
	for _, a := range group {
		words = append(words, fmt.Sprintf("%s %s", a.Verb, a.Task.Key.Name))
		if why := o.refuse[a.Task.Key.Name]; why != "" {
			ok = false
			o.results[a.Task.ID()] = syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: why}
			continue
		}
		o.change(a)
	}
	o.log = append(o.log, strings.Join(words, ", "))
	return ok
}

func (o *operation) change(a syncplan.Act) {
	k := a.Task.Key
	switch a.Verb {
	case syncplan.Apply:
		o.live[k] = a.Task.Target.DeepCopy()
		o.results[a.Task.ID()] = syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning}
	case syncplan.CreateHook:
		hook := a.Task.Target.DeepCopy()
		marks := hook.GetAnnotations()
		marks[syncplan.AnnotationOperation] = syncplan.Mark(marker, a.Task.Phase)
		hook.SetAnnotations(marks)
		o.live[k] = hook
		o.results[a.Task.ID()] = syncplan.Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning}
	case syncplan.Prune:
		if why := a.Task.PruneRefused; why != "" {
			o.results[a.Task.ID()] = syncplan.Result{Status: v1alpha1.ResultPruneSkipped, Phase: v1alpha1.OperationSucceeded, Message: why}
			return
		}
		delete(o.live, k)
		o.results[a.Task.ID()] = syncplan.Result{Status: v1alpha1.ResultPruned, Phase: v1alpha1.OperationSucceeded, Message: "pruned"}
	case syncplan.DeleteHook:
		delete(o.live, k)
		delete(o.health, k)
	case syncplan.ReleaseHook:
		u := o.live[k].DeepCopy()
		u.SetFinalizers(nil)
		o.live[k] = u
	}
}

func (o *operation) expect(t *testing.T, phase v1alpha1.OperationPhase, log ...string) {
	t.Helper()
	if diff := cmp.Diff(log, o.log); diff != "" {
		t.Errorf("acts (-want +got):\n%s", diff)
	}
	if o.move.Phase != phase {
		t.Errorf("phase %s (%s), want %s", o.move.Phase, o.move.Message, phase)
	}
	o.log = nil
}

func TestWavesWaitForHealth(t *testing.T) {
	o := start(
		thing("Deployment/late", "sync-wave=5"), thing("ConfigMap/settings"), thing("Deployment/web"),
		thing("Deployment/early", "sync-wave=-1"), thing("Namespace/shop"),
	)
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply shop", "apply early")
	o.settle("early", "shop")
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply settings", "apply web")
	o.settle("web:Degraded")
	o.run(t)
	if len(o.live) != 4 {
		t.Errorf("a wave went on although the one before it is degraded: %d objects", len(o.live))
	}
}

func TestHooksRunAroundTheSync(t *testing.T) {
	o := start(
		thing("Job/before", "hook=PreSync"), thing("Deployment/web"),
		thing("Job/after", "hook=PostSync", "hook-delete-policy=HookSucceeded"), thing("Job/alarm", "hook=SyncFail"),
	)
	o.run(t).expect(t, v1alpha1.OperationRunning, "create hook before")
	o.settle("before")
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply web")
	o.settle("web")
	o.run(t).expect(t, v1alpha1.OperationRunning, "create hook after")
	o.settle("after")
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "delete hook after")
}

func TestFailedHookStopsTheOperation(t *testing.T) {
	o := start(thing("Job/before", "hook=PreSync"), thing("Deployment/web"), thing("Job/alarm", "hook=SyncFail"))
	o.run(t)
	o.settle("before:Degraded")
	o.log = nil
	o.run(t).expect(t, v1alpha1.OperationRunning, "create hook alarm")
	o.settle("alarm")
	o.run(t).expect(t, v1alpha1.OperationFailed)
	if o.live[object.KeyOf(thing("Deployment/web"))] != nil {
		t.Error("the sync went on after a failed PreSync hook")
	}
}

func TestRefusedObjectFailsTheOperationByName(t *testing.T) {
	o := start(thing("Deployment/web"), thing("ConfigMap/bad"), thing("Deployment/next", "sync-wave=1"))
	o.refuse["bad"] = "field spec.x is not known"
	o.run(t)
	if o.move.Phase != v1alpha1.OperationFailed || !strings.Contains(o.move.Message, "one or more objects failed to apply") {
		t.Errorf("%s: %s", o.move.Phase, o.move.Message)
	}
	if o.live[object.KeyOf(thing("Deployment/next"))] != nil {
		t.Error("the next wave was applied")
	}
}

func TestPruning(t *testing.T) {
	kept := thing("ConfigMap/kept", "sync-options=Prune=false")
	o := start(thing("ConfigMap/wanted")).surplus(thing("ConfigMap/old")).surplus(kept)
	o.run(t)
	if o.live[object.KeyOf(thing("ConfigMap/old"))] == nil {
		t.Error("pruned without being asked to")
	}
	o = start(thing("ConfigMap/wanted")).surplus(thing("ConfigMap/old")).surplus(kept)
	o.request.Prune = true
	o.run(t)
	if o.move.Phase != v1alpha1.OperationSucceeded || o.live[object.KeyOf(kept)] == nil || o.live[object.KeyOf(thing("ConfigMap/old"))] != nil {
		t.Errorf("%s; left are %v", o.move.Phase, slices.Collect(maps.Keys(o.live)))
	}
}

func TestPruneRemovesLastWaveFirst(t *testing.T) {
	o := start().surplus(thing("ConfigMap/first", "sync-wave=1")).surplus(thing("ConfigMap/second", "sync-wave=2"))
	o.request.Prune = true
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "prune second", "prune first")
}

func TestSelectionLeavesOutHooks(t *testing.T) {
	o := start(thing("Job/before", "hook=PreSync"), thing("ConfigMap/a"), thing("ConfigMap/b"))
	o.request.Selected = func(k object.Key) bool { return k.Name == "b" }
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "apply b")
}

func TestHookOfAnEarlierOperationIsReplaced(t *testing.T) {
	o := start(thing("Job/before", "hook=PreSync"), thing("ConfigMap/a"))
	old := thing("Job/before", "hook=PreSync")
	marks := old.GetAnnotations()
	marks[syncplan.AnnotationOperation] = "op-0/1"
	old.SetAnnotations(marks)
	o.live[object.KeyOf(old)] = old
	o.settle("before")
	delete(o.health, object.KeyOf(old))
	o.run(t).expect(t, v1alpha1.OperationRunning, "delete hook before", "create hook before")
}

func TestTerminateDeletesRunningHooks(t *testing.T) {
	o := start(thing("Job/before", "hook=PreSync"), thing("ConfigMap/a"))
	o.run(t)
	r := o.request
	r.Pairs, r.Hooks = o.observe(r.Pairs), o.observe(r.Hooks)
	move := syncplan.Terminate(syncplan.State{
		Tasks: syncplan.Tasks(r), Results: o.results, Marker: marker,
		Health: func(object.Key) (health.Status, bool) { return health.Status{Code: health.Progressing}, true },
	})
	var verbs []string
	for _, g := range move.Groups {
		for _, a := range g {
			verbs = append(verbs, fmt.Sprintf("%s %s", a.Verb, a.Task.Key.Name))
		}
	}
	if diff := cmp.Diff([]string{"delete hook before"}, verbs); diff != "" {
		t.Errorf("acts (-want +got):\n%s", diff)
	}
}

func TestNameHookIsStableWithinAnOperation(t *testing.T) {
	hook := thing("Job/")
	hook.SetGenerateName("migrate-")
	a := syncplan.NameHook(hook, "abcdef0123456", time.Unix(100, 0)).GetName()
	b := syncplan.NameHook(hook, "abcdef0123456", time.Unix(100, 0)).GetName()
	c := syncplan.NameHook(hook, "abcdef0123456", time.Unix(101, 0)).GetName()
	if a != b || a == c || !strings.HasPrefix(a, "migrate-") {
		t.Errorf("names %q, %q in one operation, %q in the next", a, b, c)
	}
	if n := syncplan.NameHook(thing("Job/named"), "x", time.Time{}).GetName(); n != "named" {
		t.Errorf("a hook with a name became %q", n)
	}
}

func TestWave(t *testing.T) {
	for text, want := range map[string]int{"sync-wave=3": 3, "sync-wave=-2": -2, "sync-wave=x": 0, "other=1": 0} {
		if got := syncplan.Wave(thing("ConfigMap/a", text)); got != want {
			t.Errorf("%s is wave %d, want %d", text, got, want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	var targets []*unstructured.Unstructured
	for i := range 1000 {
		targets = append(targets, thing(fmt.Sprintf("ConfigMap/c%d", i), fmt.Sprintf("sync-wave=%d", i%5)))
	}
	o := start(targets...)
	b.ReportAllocs()
	for b.Loop() {
		move := syncplan.Next(syncplan.State{
			Tasks: syncplan.Tasks(o.request), Results: o.results, Marker: marker,
			Health: func(object.Key) (health.Status, bool) { return health.Status{}, false },
		})
		if len(move.Groups) == 0 {
			b.Fatal("nothing to do")
		}
	}
}

// TestLastWaveIsNotJudged: what the last wave brought may be as sick as it
// likes, the sync itself is over; an earlier wave that is sick fails it.
func TestLastWaveIsNotJudged(t *testing.T) {
	for _, c := range []struct {
		name string
		sick []string
		want v1alpha1.OperationPhase
	}{
		{"the only wave", []string{"Deployment/web"}, v1alpha1.OperationSucceeded},
		{"the last wave", []string{"ConfigMap/a sync-wave=-1", "Deployment/web"}, v1alpha1.OperationSucceeded},
		{"an earlier wave", []string{"Deployment/web", "ConfigMap/z sync-wave=1"}, v1alpha1.OperationFailed},
		{"with a hook after it", []string{"Deployment/web", "Job/smoke hook=PostSync"}, v1alpha1.OperationFailed},
	} {
		var targets []*unstructured.Unstructured
		for _, text := range c.sick {
			id, annotation, _ := strings.Cut(text, " ")
			if annotation == "" {
				targets = append(targets, thing(id))
				continue
			}
			targets = append(targets, thing(id, annotation))
		}
		o := start(targets...)
		for _, u := range targets {
			if u.GetKind() == "Deployment" {
				o.health[object.KeyOf(u)] = health.Status{Code: health.Degraded, Message: "crash loop"}
			}
		}
		if o.run(t); o.move.Phase != c.want {
			t.Errorf("%s is sick: %s (%s), want %s", c.name, o.move.Phase, o.move.Message, c.want)
		}
	}
}
