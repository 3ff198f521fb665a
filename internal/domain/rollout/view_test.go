package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/test/scenario"
)

// explain looks at a world with all that is known of it.
func explain(w *scenario.World) *rollout.View {
	look := rollout.Look{Set: w.Set, Gate: true, Now: w.Now}
	for _, m := range w.Members() {
		if m.Live != nil {
			look.Applications = append(look.Applications, *m.Live)
		}
	}
	return rollout.Explain(look)
}

// TestExplain asks of rollouts in all kinds of states what people ask.
func TestExplain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script           string
		summary, next, actions string
		blocking               []string
	}{
		{"at rest", "", "every Application runs its target", "a new revision", "pause", nil},
		{"syncing", "push R2", "step 1 waits for 1 of 1 Applications to be synced", "then step 2 begins: 2 Applications, at most 2", "pause abort rollback", []string{"c"}},
		{"failed", "push R2\nfinish c Degraded", "step 1 is halted: ApplicationDegraded: c", "when they recover", "pause retry abort rollback", []string{"c"}},
		{"paused", "push R2\npause", "paused by Annotation", "when the pause is taken away", "resume abort rollback", []string{"c"}},
		{"out of hours", "window 1 closed 2h\npush R2", "paused by Window", "it goes on at 2027-01-15T10:00:00Z", "pause abort rollback", []string{"c"}},
		{"approval", "change 2 approval Before\npush R2\nfinish c Healthy", "step 2 waits for approval", "after approval, step 2 begins: 2 Applications", "pause promote abort rollback", []string{"e", "w"}},
		{"baking", "change 1 bake 10m\npush R2\nfinish c Healthy", "step 1 waits for its bake time", "then step 2", "pause abort rollback", nil},
		{"aborted", "push R2\nabort 2", "step 1 is halted: Aborted", "at a new target or at a retry", "pause retry rollback", []string{"c"}},
		{"rolling back", "change 1 on-failure Rollback\npush R2\nfinish c Degraded", "return to what they ran before", "rejected", "pause abort", []string{"c"}},
		{"dry run", "set dryRun true\npush R2", "a dry run", "dryRun to false", "pause abort", []string{"c"}},
		{"invalid", "change 1 max -1\npush R2", "InvalidStrategy", "correct the strategy", "pause abort rollback", []string{"c"}},
	} {
		w := scenario.New()
		if err := w.Play("fleet P5\nstart R1\n" + c.script); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		v := explain(w)
		if !strings.Contains(v.Summary, c.summary) || !strings.Contains(v.Next, c.next) {
			t.Errorf("%s: %q, next %q", c.name, v.Summary, v.Next)
		}
		var actions, blocking []string
		for _, a := range v.Actions {
			actions = append(actions, string(a.Verb))
			if a.Why == "" || a.Annotation == "" {
				t.Errorf("%s: action %+v says too little", c.name, a)
			}
		}
		if got := strings.Join(actions, " "); got != c.actions {
			t.Errorf("%s: actions %q, want %q", c.name, got, c.actions)
		}
		for _, b := range v.Blocking {
			blocking = append(blocking, b.Name)
			if b.Since == nil || b.Message == "" {
				t.Errorf("%s: %+v does not say since when or why", c.name, b)
			}
		}
		if got, want := strings.Join(blocking, " "), strings.Join(c.blocking, " "); got != want {
			t.Errorf("%s: blocking %q, want %q", c.name, got, want)
		}
		if v.Since == nil || v.Since.Before(time.Unix(1_800_000_000, 0)) {
			t.Errorf("%s: since %v", c.name, v.Since)
		}
	}
	if v := rollout.Explain(rollout.Look{Set: &v1alpha1.ApplicationSet{}, Gate: true}); v != nil {
		t.Errorf("a set without a rollout: %+v", v)
	}
}

// TestThoseThatComeLastAreNamed: Applications that match no step and come after
// all others hold the rollout then, and are shown as such.
func TestThoseThatComeLastAreNamed(t *testing.T) {
	t.Parallel()
	w := scenario.New()
	if err := w.Play("set unmatchedPolicy AfterLastStep\nfleet a:wave=a x:wave=none y:wave=none\nstep wave=a\nstart R1\nmanual y\npush R2\nfinish a Healthy\nfinish x Degraded"); err != nil {
		t.Fatal(err)
	}
	v := explain(w)
	if len(v.Blocking) != 1 || v.Blocking[0].Name != "x" || v.Blocking[0].Reason != rollout.ReasonHealthDegraded || len(v.Elsewhere) != 0 {
		t.Errorf("%s: blocking %+v, elsewhere %+v", v.Summary, v.Blocking, v.Elsewhere)
	}
}

// TestActionsDoWhatTheySay sets the annotation of every action and looks for
// its effect.
func TestActionsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, effect string }{
		"pause":    {"push R2", "expect paused"},
		"resume":   {"push R2\npause", "expect not-paused"},
		"promote":  {"change 2 approval Before\npush R2\nfinish c Healthy", "expect syncing e w"},
		"retry":    {"push R2\nfail c", "expect syncing c"},
		"abort":    {"push R2", "expect halted Aborted"},
		"rollback": {"push R2\nfinish c Healthy", "expect phase RollingBack"},
	} {
		w := scenario.New()
		if err := w.Play("fleet P5\nstart R1\n" + c.script); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, a := range explain(w).Actions {
			if string(a.Verb) != name {
				continue
			}
			if a.Value == "" {
				delete(w.Set.Annotations, a.Annotation)
			} else {
				w.Set.Annotations[a.Annotation] = a.Value
			}
			name = ""
		}
		if name != "" {
			t.Fatalf("%s is not offered", name)
		}
		if err := w.Play("wait 1s\n" + c.effect); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
