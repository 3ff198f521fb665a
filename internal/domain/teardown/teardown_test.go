package teardown_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/teardown"
)

// world is a set and its Applications, deleted and made to go by the test.
type world struct {
	set  *v1alpha1.ApplicationSet
	apps []*v1alpha1.Application
	seen map[types.UID]time.Time
	now  time.Time
	uid  int
}

// newWorld has a step for each limit; members are "NAME/STEP", step 0 matches
// none.
func newWorld(limits []string, members ...string) *world {
	w := &world{set: &v1alpha1.ApplicationSet{}, seen: map[types.UID]time.Time{}, now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	w.set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: "RollingSync", DeletionOrder: "Reverse", RollingSync: &v1alpha1.RollingSync{}}
	for i, l := range limits {
		step := v1alpha1.RolloutStep{MatchExpressions: []v1alpha1.StepMatchExpression{{Key: "step", Operator: "In", Values: []string{fmt.Sprint(i + 1)}}}}
		if l != "" {
			value := intstr.Parse(l)
			step.MaxUpdate = &value
		}
		w.set.Spec.Strategy.RollingSync.Steps = append(w.set.Spec.Strategy.RollingSync.Steps, step)
	}
	for _, m := range members {
		name, step, _ := strings.Cut(m, "/")
		w.add(name, step)
	}
	return w
}

func (w *world) add(name, step string) {
	app := &v1alpha1.Application{}
	w.uid++
	app.Name, app.Labels, app.UID = name, map[string]string{"step": step}, types.UID(fmt.Sprint(w.uid))
	w.apps = append(w.apps, app)
}

// next decides, deletes, and says what was deleted.
func (w *world) next() (teardown.Decision, string) {
	d := teardown.Next(teardown.Input{Set: w.set, Applications: w.apps, Seen: w.seen, Now: w.now})
	var names []string
	for _, app := range d.Delete {
		at := metav1.NewTime(time.Unix(0, 0)) // another clock: never looked at
		app.DeletionTimestamp = &at
		w.seen[app.UID] = w.now
		names = append(names, app.Name)
	}
	return d, strings.Join(names, " ")
}

func (w *world) gone(name string) {
	w.apps = slices.DeleteFunc(w.apps, func(a *v1alpha1.Application) bool { return a.Name == name && a.DeletionTimestamp != nil })
}

func (w *world) expect(t *testing.T, want string) teardown.Decision {
	t.Helper()
	d, got := w.next()
	if got != want {
		t.Errorf("deletes %q, want %q", got, want)
	}
	return d
}

func TestL1Reverse(t *testing.T) {
	w := newWorld([]string{"1", "2", "10"}, "c/1", "e/2", "w/2", "eu/3", "ap/3")
	w.expect(t, "ap eu")
	w.gone("eu")
	w.expect(t, "")
	w.gone("ap")
	w.expect(t, "e w")
	w.gone("e")
	w.gone("w")
	w.expect(t, "c")
	w.gone("c")
	if d := w.expect(t, ""); !d.Done {
		t.Error("not done")
	}
}

func TestL2Stuck(t *testing.T) {
	w := newWorld([]string{"1", "2", "1"}, "c/1", "e/2", "ap/3", "eu/3", "us/3")
	if d := w.expect(t, "ap"); d.Wake != 0 {
		t.Errorf("wake %s before anything goes", d.Wake)
	}
	if d := w.expect(t, ""); d.Wake != 2*time.Minute || len(d.Stuck) != 0 {
		t.Errorf("wake %s, stuck %d", d.Wake, len(d.Stuck))
	}
	w.now = w.now.Add(119 * time.Second)
	if d := w.expect(t, ""); d.Wake != time.Second {
		t.Errorf("wake %s", d.Wake)
	}
	w.now = w.now.Add(time.Second)
	if d := w.expect(t, "eu"); len(d.Stuck) != 1 || d.Stuck[0].Name != "ap" {
		t.Errorf("stuck %v", d.Stuck) // it keeps nobody of its own step
	}
	w.gone("eu")
	w.expect(t, "us")
	w.gone("us")
	w.now = w.now.Add(time.Hour)
	if d := w.expect(t, ""); d.Done || len(d.Stuck) != 1 || d.Step != 3 {
		t.Errorf("a stuck Application does not hold the steps before: %+v", d)
	}
	w.gone("ap")
	w.expect(t, "e")
}

func TestL3UnmatchedAndSkippedLast(t *testing.T) {
	w := newWorld([]string{"1", "1"}, "c/1", "e/2", "nobody/0", "skipped/2")
	w.apps[3].Annotations = map[string]string{v1alpha1.AnnotationRolloutSkip: "true"}
	w.expect(t, "e")
	w.gone("e")
	w.expect(t, "c")
	w.gone("c")
	w.expect(t, "nobody skipped")
}

func TestL4Restart(t *testing.T) {
	w := newWorld([]string{"1", "2", "10"}, "c/1", "e/2", "w/2", "eu/3")
	w.expect(t, "eu")
	w.gone("eu")
	w.expect(t, "e w")
	w.seen = map[types.UID]time.Time{} // the process forgot
	if d := w.expect(t, ""); d.Wake != 2*time.Minute {
		t.Errorf("wake %s", d.Wake)
	}
	w.gone("e")
	w.gone("w")
	w.expect(t, "c")
}

// TestL8RunningOperation: what an Application is doing does not matter.
func TestL8RunningOperation(t *testing.T) {
	w := newWorld([]string{"1"}, "c/1")
	w.apps[0].Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}}
	w.apps[0].Status.OperationState = &v1alpha1.OperationState{Phase: v1alpha1.OperationRunning}
	w.expect(t, "c")
}

func TestL10SameNameAnotherUID(t *testing.T) {
	w := newWorld([]string{"1"}, "c/1")
	w.expect(t, "c")
	old := w.apps[0].UID
	w.now = w.now.Add(time.Hour)
	w.gone("c")
	w.add("c", "1")
	if d := w.expect(t, "c"); len(d.Stuck) != 0 || d.Delete[0].UID == old {
		t.Errorf("the new one is taken for the old: %+v", d)
	}
}

func TestLimits(t *testing.T) {
	var many []string
	for i := range 80 {
		many = append(many, fmt.Sprintf("a%02d/1", i))
	}
	for limit, want := range map[string]int{"": 50, "1": 1, "7": 7, "200": 80, "25%": 20, "0": 1, "0%": 1, "abc": 1, "-3": 1} {
		w := newWorld([]string{limit}, many...)
		d, _ := w.next()
		if len(d.Delete) != want {
			t.Errorf("%q: %d at a time, want %d", limit, len(d.Delete), want)
		}
	}
	w := newWorld([]string{"25%"}, many...)
	w.set.Status.Rollout = &v1alpha1.RolloutStatus{Steps: []v1alpha1.RolloutStepStatus{{Index: 1, Total: 80}}}
	w.apps = w.apps[60:]
	if d, _ := w.next(); len(d.Delete) != 20 {
		t.Errorf("%d of the last %d at a time: the share shrinks with the step", len(d.Delete), len(w.apps))
	}
}

func TestOrdered(t *testing.T) {
	make := func(change func(*v1alpha1.ApplicationSetStrategy)) *v1alpha1.ApplicationSet {
		w := newWorld([]string{"1"})
		change(w.set.Spec.Strategy)
		return w.set
	}
	for _, c := range []struct {
		name string
		set  *v1alpha1.ApplicationSet
		gate bool
		want bool
	}{
		{"reverse", make(func(*v1alpha1.ApplicationSetStrategy) {}), true, true},
		{"L5 lower case", make(func(s *v1alpha1.ApplicationSetStrategy) { s.DeletionOrder = "reverse" }), true, true},
		{"L6 no steps", make(func(s *v1alpha1.ApplicationSetStrategy) { s.RollingSync.Steps = nil }), true, false},
		{"L6 all at once", make(func(s *v1alpha1.ApplicationSetStrategy) { s.DeletionOrder = "AllAtOnce" }), true, false},
		{"another strategy", make(func(s *v1alpha1.ApplicationSetStrategy) { s.Type = "AllAtOnce" }), true, false},
		{"gate off", make(func(*v1alpha1.ApplicationSetStrategy) {}), false, false},
		{"no strategy", &v1alpha1.ApplicationSet{}, true, false},
	} {
		if got := teardown.Ordered(c.set, c.gate); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestK8Large deletes 2,000 Applications in steps of a tenth: never more than
// the limit at once, never a step before its time.
func TestK8Large(t *testing.T) {
	var members []string
	for i := range 2000 {
		members = append(members, fmt.Sprintf("a%04d/%d", i, i%5+1))
	}
	w := newWorld([]string{"10%", "10%", "10%", "10%", "10%"}, members...)
	w.set.Status.Rollout = &v1alpha1.RolloutStatus{}
	for i := range int32(5) {
		w.set.Status.Rollout.Steps = append(w.set.Status.Rollout.Steps, v1alpha1.RolloutStepStatus{Index: i + 1, Total: 400})
	}
	rounds, last := 0, 5
	for len(w.apps) > 0 {
		d, _ := w.next()
		going := 0
		for _, a := range w.apps {
			if a.DeletionTimestamp != nil {
				going++
			}
		}
		if d.Step > last || going > 40 || going == 0 {
			t.Fatalf("step %d after %d, %d going", d.Step, last, going)
		}
		last = d.Step
		w.apps = slices.DeleteFunc(w.apps, func(a *v1alpha1.Application) bool { return a.DeletionTimestamp != nil })
		rounds++
	}
	if rounds != 50 {
		t.Errorf("%d rounds, want 50", rounds)
	}
}
