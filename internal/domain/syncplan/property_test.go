package syncplan_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// world is an operation whose process may die at any act.
type world struct {
	*operation
	t *testing.T
	// fate is what an object becomes some time after it was written.
	fate map[string]v1alpha1.HealthStatusCode
	// dies decides before and after each act; nil never dies.
	dies func() bool
	// stages lists first writes as "phase/wave/verb: names".
	stages  []string
	members map[string][]string
	seen    map[string]bool
	created map[string]int
}

// invent makes an operation of random objects, hooks, waves and fates.
func invent(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 7))
	o := start()
	w := &world{operation: o, t: t, fate: map[string]v1alpha1.HealthStatusCode{}, members: map[string][]string{}, seen: map[string]bool{}, created: map[string]int{}}
	phases := []string{"PreSync", "Sync", "PostSync", "SyncFail", "PreSync,PostSync"}
	policies := []string{"", "HookSucceeded", "HookFailed", "BeforeHookCreation,HookSucceeded"}
	for i := range 3 + r.IntN(10) {
		name := fmt.Sprintf("n%d", i)
		wave := fmt.Sprintf("sync-wave=%d", r.IntN(4)-1)
		kind := []string{"ConfigMap", "Deployment", "Namespace"}[r.IntN(3)]
		w.fate[name] = health.Healthy
		if r.IntN(12) == 0 {
			w.fate[name] = health.Degraded
		}
		if r.IntN(15) == 0 {
			o.refuse[name] = "refused by the test"
		}
		switch r.IntN(4) {
		case 0:
			marks := []string{wave, "hook=" + phases[r.IntN(len(phases))]}
			if p := policies[r.IntN(len(policies))]; p != "" {
				marks = append(marks, "hook-delete-policy="+p)
			}
			hook := thing("Job/"+name, marks...)
			o.request.Hooks = append(o.request.Hooks, syncplan.Pair{Key: object.KeyOf(hook), Target: hook})
			if r.IntN(3) == 0 { // one that an earlier operation left
				old := thing("Job/"+name, append(marks, "sync-operation=op-0/0/PreSync")...)
				o.live[object.KeyOf(old)] = old
			}
		case 1:
			o.surplus(thing(kind+"/"+name, wave))
		default:
			target := thing(kind+"/"+name, wave)
			o.request.Pairs = append(o.request.Pairs, syncplan.Pair{Key: object.KeyOf(target), Target: target})
		}
	}
	o.request.Prune = r.IntN(2) == 0
	return w
}

func (w *world) tasks() []syncplan.Task {
	r := w.request
	r.Pairs, r.Hooks = w.observe(r.Pairs), w.observe(r.Hooks)
	return syncplan.Tasks(r)
}

func (w *world) assess(k object.Key) (health.Status, bool) {
	h, known := w.health[k]
	if !known && k.Kind != "ConfigMap" {
		return health.Status{Code: health.Progressing}, w.live[k] != nil
	}
	return h, known
}

// play goes on until the operation has ended, whatever dies on the way.
func (w *world) play() v1alpha1.OperationPhase {
	for range 2000 {
		stored := maps.Clone(w.results)
		move := syncplan.Next(syncplan.State{Tasks: w.tasks(), Results: maps.Clone(stored), Health: w.assess, Marker: marker})
		if move.Phase.Completed() {
			return move.Phase
		}
		maps.Copy(w.results, move.Results)
		if move.Removes() {
			stored = maps.Clone(w.results)
		}
		if w.carryOut(move) {
			w.results = stored // what had not been written is forgotten
		}
		if len(move.Groups) == 0 {
			w.become()
		}
	}
	w.t.Fatal("the operation does not end")
	return ""
}

// become lets every object reach its fate.
func (w *world) become() {
	for k := range w.live {
		if code := w.fate[k.Name]; code != "" && k.Kind != "ConfigMap" {
			w.health[k] = health.Status{Code: code}
		}
	}
}

func (w *world) carryOut(move syncplan.Move) (died bool) {
	for _, group := range move.Groups {
		for _, act := range group {
			if w.dies != nil && w.dies() {
				return true
			}
			w.check(act)
			if why := w.refuse[act.Task.Key.Name]; why != "" {
				w.results[act.Task.ID()] = syncplan.Result{Status: v1alpha1.ResultSyncFailed, Phase: v1alpha1.OperationFailed, Message: why}
			} else {
				delete(w.health, act.Task.Key)
				w.change(act)
				if act.Verb == syncplan.CreateHook {
					w.created[fmt.Sprint(act.Task.ID())]++
				}
				if act.Verb == syncplan.ReleaseHook {
					w.become()
				}
			}
			if w.dies != nil && w.dies() {
				return true
			}
		}
	}
	return false
}

// check holds the invariants of the order and notes the stage of an act.
func (w *world) check(act syncplan.Act) {
	t := act.Task
	id := fmt.Sprintf("%s %s %s", t.Phase, act.Verb, t.Key)
	if w.seen[id] {
		return
	}
	w.seen[id] = true
	stage := fmt.Sprintf("%s/%d/%s", t.Phase, t.Wave, act.Verb)
	if !slices.Contains(w.stages, stage) {
		w.stages = append(w.stages, stage)
	}
	w.members[stage] = append(w.members[stage], t.Key.Name)
	if act.Verb != syncplan.Apply && act.Verb != syncplan.CreateHook {
		return
	}
	for _, other := range w.tasks() {
		earlier := cmp.Or(cmp.Compare(rank(other.Phase), rank(t.Phase)), cmp.Compare(other.Wave, t.Wave)) < 0
		if !earlier || t.Phase == syncplan.SyncFail || other.Phase == syncplan.SyncFail {
			continue
		}
		if r, known := w.results[other.ID()]; !known || r.Phase != v1alpha1.OperationSucceeded {
			w.t.Errorf("%s of %s/%d while %s of %s/%d is %q", act.Verb, t.Phase, t.Wave, other.Key, other.Phase, other.Wave, r.Phase)
		}
	}
}

func rank(p syncplan.Phase) int {
	return slices.Index([]syncplan.Phase{syncplan.PreSync, syncplan.Sync, syncplan.PostSync, syncplan.SyncFail}, p)
}

// plan is what was written, stage by stage.
func (w *world) plan() []string {
	var out []string
	for _, s := range w.stages {
		slices.Sort(w.members[s])
		out = append(out, s+": "+strings.Join(w.members[s], " "))
	}
	return out
}

// pruned is what the results say of objects that were to go.
func (w *world) pruned() []string {
	var out []string
	for id, r := range w.results {
		if r.Status != v1alpha1.ResultSynced && r.Status != v1alpha1.ResultSyncFailed {
			out = append(out, fmt.Sprintf("%s %s %s %s", id.Key, r.Status, r.Phase, r.Message))
		}
	}
	slices.Sort(out)
	return out
}

// TestAnInterruptedSyncDoesTheRest plays random operations twice, once with a
// process that dies again and again: both write the same things in the same
// order, no hook is created twice, and what was pruned is told.
func TestAnInterruptedSyncDoesTheRest(t *testing.T) {
	ended := map[v1alpha1.OperationPhase]int{}
	for seed := range uint64(250) {
		calm := invent(t, seed)
		want := calm.play()
		ended[want]++
		r := rand.New(rand.NewPCG(seed, 11))
		wild := invent(t, seed)
		wild.dies = func() bool { return r.IntN(4) == 0 }
		if got := wild.play(); got != want {
			t.Errorf("seed %d: interrupted %s, else %s", seed, got, want)
		}
		if diff := gocmp.Diff(calm.plan(), wild.plan()); diff != "" {
			t.Errorf("seed %d: the plan changed (-calm +interrupted):\n%s", seed, diff)
		}
		if diff := gocmp.Diff(calm.pruned(), wild.pruned()); diff != "" {
			t.Errorf("seed %d: results of pruned objects (-calm +interrupted):\n%s", seed, diff)
		}
		for _, w := range []*world{calm, wild} {
			for id, n := range w.created {
				if n > 1 {
					t.Errorf("seed %d: hook %s was created %d times", seed, id, n)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("first failure at seed %d", seed)
		}
	}
	if ended[v1alpha1.OperationSucceeded] < 25 || ended[v1alpha1.OperationFailed] < 25 {
		t.Errorf("the operations ended %v: too few of one kind to prove anything", ended)
	}
}
