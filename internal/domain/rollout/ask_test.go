package rollout_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/test/scenario"
)

const waitsForStep2 = "change 2 approval Before\npush R2\nfinish c Healthy"

// TestRequest asks for things in all kinds of states: what is granted has the
// effect it names, what is refused says why and what to do.
func TestRequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		ask          rollout.Ask
		refused      rollout.Refused
		says, effect string
	}{
		{"pause", "push R2", rollout.Ask{Verb: "pause", Reason: "an incident"}, "", "", "expect paused"},
		{"pause again", "push R2\npause", rollout.Ask{Verb: "pause"}, "", "", "expect paused"},
		{"pause with an essay", "", rollout.Ask{Verb: "pause", Reason: strings.Repeat("a", 257)}, rollout.Misread, "at most 256 characters", ""},
		{"pause with a line break", "", rollout.Ask{Verb: "pause", Reason: "a\nb"}, rollout.Misread, "one line", ""},
		{"resume", "push R2\npause", rollout.Ask{Verb: "resume"}, "", "", "expect not-paused"},
		{"resume what runs", "push R2", rollout.Ask{Verb: "resume"}, rollout.NotNow, "is not paused", ""},
		{"resume what is paused by false", "push R2\npause false", rollout.Ask{Verb: "resume"}, rollout.NotNow, "is not paused", ""},
		{"resume what the manifest pauses", "set paused true\npush R2", rollout.Ask{Verb: "resume"}, rollout.NotNow, "spec.strategy.rollingSync.paused: set it to false", ""},
		{"resume of two pauses", "set paused true\npause\npush R2", rollout.Ask{Verb: "resume"}, "", "still paused by spec.strategy.rollingSync.paused", "expect paused"},
		{"resume of a window", "window 1 closed 2h\npush R2", rollout.Ask{Verb: "resume"}, rollout.NotNow, "by a window", ""},
		{"approve what waits", waitsForStep2, rollout.Ask{Verb: "approve", Rollout: 2}, "", "", "expect syncing e w"},
		{"promote by number", waitsForStep2, rollout.Ask{Verb: "promote", Rollout: 2, Step: "2"}, "", "", "expect syncing e w"},
		{"promote by name", "change 2 name primary\n" + waitsForStep2, rollout.Ask{Verb: "promote", Rollout: 2, Step: "primary"}, "", "", "expect syncing e w"},
		{"promote beforehand", "change 2 approval Before\npush R2", rollout.Ask{Verb: "promote", Rollout: 2, Step: "2"}, "", "", "finish c Healthy\nexpect syncing e w"},
		{"promote twice", waitsForStep2 + "\npromote 2/2", rollout.Ask{Verb: "promote", Rollout: 2, Step: "2"}, "", "approved already by ann", "expect syncing e w"},
		{"promote for the rollout before", waitsForStep2, rollout.Ask{Verb: "promote", Rollout: 1}, rollout.Stale, "rollout 1 is not the current one, which is 2", ""},
		{"promote without a number", waitsForStep2, rollout.Ask{Verb: "promote"}, rollout.Misread, "the current one is 2", ""},
		{"promote no step", waitsForStep2, rollout.Ask{Verb: "promote", Rollout: 2, Step: "9"}, rollout.Misread, `step "9" does not exist`, ""},
		{"promote a step that does not ask", waitsForStep2, rollout.Ask{Verb: "promote", Rollout: 2, Step: "1"}, rollout.NotNow, "step 1 asks for no approval", ""},
		{"promote when nothing waits", "push R2", rollout.Ask{Verb: "promote", Rollout: 2}, rollout.NotNow, "no step of rollout 2 waits", ""},
		{"retry", "push R2\nfail c", rollout.Ask{Verb: "retry", Rollout: 2}, "", "", "expect syncing c"},
		{"retry tolerated failures", "change 1 max-failures 1\npush R2\nfail c", rollout.Ask{Verb: "retry", Rollout: 2}, "", "", "expect syncing c e w"},
		{"retry what runs well", "push R2", rollout.Ask{Verb: "retry", Rollout: 2}, rollout.NotNow, "no failure to retry", ""},
		{"retry a bad strategy", "change 1 max -1\npush R2", rollout.Ask{Verb: "retry", Rollout: 2}, rollout.NotNow, "correct it", ""},
		{"abort", "push R2", rollout.Ask{Verb: "abort", Rollout: 2}, "", "", "expect halted Aborted"},
		{"abort twice", "push R2\nabort 2", rollout.Ask{Verb: "abort", Rollout: 2}, rollout.NotNow, "is Aborted already", ""},
		{"abort what is complete", "", rollout.Ask{Verb: "abort", Rollout: 1}, rollout.NotNow, "nothing to abort", ""},
		{"rollback", "push R2\nfinish c Healthy", rollout.Ask{Verb: "rollback", Rollout: 2}, "", "", "expect phase RollingBack"},
		{"rollback at rest", "", rollout.Ask{Verb: "rollback", Rollout: 1}, rollout.NotNow, "synced nothing", ""},
		{"rollback twice", "push R2\nfinish c Healthy\nrollback 2", rollout.Ask{Verb: "rollback", Rollout: 2}, rollout.NotNow, "is RollingBack already", ""},
		{"no verb", "", rollout.Ask{Verb: "explode"}, rollout.Misread, "use pause, resume", ""},
	} {
		w := scenario.New()
		if err := w.Play("fleet P5\nstart R1\n" + c.script); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		edit, err := rollout.Request(w.Set, true, c.ask)
		if got := rollout.WhyRefused(err); got != c.refused || (err != nil && !strings.Contains(err.Error(), c.says)) || (err == nil && !strings.Contains(edit.Note, c.says)) {
			t.Errorf("%s: %+v, refused %q: %v", c.name, edit, got, err)
			continue
		}
		if err != nil {
			continue
		}
		maps.Copy(w.Set.Annotations, edit.Set)
		for _, key := range edit.Remove {
			delete(w.Set.Annotations, key)
		}
		if err := w.Play("wait 1s\n" + c.effect); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestRequestWaitsItsTurn does not write over what the controller has not
// taken in.
func TestRequestWaitsItsTurn(t *testing.T) {
	t.Parallel()
	w := scenario.New()
	if err := w.Play("fleet P5\nstart R1\n" + waitsForStep2); err != nil {
		t.Fatal(err)
	}
	w.Set.Annotations[v1alpha1.AnnotationPromoteRollout] = "2/3"
	if _, err := rollout.Request(w.Set, true, rollout.Ask{Verb: "promote", Rollout: 2}); rollout.WhyRefused(err) != rollout.NotNow || !strings.Contains(err.Error(), `has not taken in promote-rollout "2/3" yet`) {
		t.Errorf("%v", err)
	}
	w.Set.Annotations[v1alpha1.AnnotationPromoteRollout] = "2/2"
	if _, err := rollout.Request(w.Set, true, rollout.Ask{Verb: "promote", Rollout: 2}); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

// TestRequestWithoutRollout says what is missing.
func TestRequestWithoutRollout(t *testing.T) {
	t.Parallel()
	w := scenario.New()
	if err := w.Play("fleet P5\nstart R1"); err != nil {
		t.Fatal(err)
	}
	for says, c := range map[string]struct {
		change func(*v1alpha1.ApplicationSet)
		gate   bool
	}{
		"--enable-progressive-syncs": {func(*v1alpha1.ApplicationSet) {}, false},
		"is not RollingSync":         {func(s *v1alpha1.ApplicationSet) { s.Spec.Strategy = nil }, true},
		"ask again in a moment":      {func(s *v1alpha1.ApplicationSet) { s.Status.Rollout = nil }, true},
	} {
		set := w.Set.DeepCopy()
		c.change(set)
		_, err := rollout.Request(set, c.gate, rollout.Ask{Verb: "abort", Rollout: 1})
		if rollout.WhyRefused(err) != rollout.NotNow || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
}

// TestPermissions names the permission of every verb.
func TestPermissions(t *testing.T) {
	t.Parallel()
	want := map[rollout.Verb]string{
		"pause": "rollout/pause", "resume": "rollout/pause", "promote": "rollout/promote", "retry": "rollout/retry", "abort": "rollout/abort", "rollback": "rollout/rollback",
	}
	for _, v := range rollout.Verbs {
		if got := v.Permission(); got != want[v] {
			t.Errorf("%s needs %s, want %s", v, got, want[v])
		}
	}
}

// TestManager keeps the name of a user within what an API server takes.
func TestManager(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"alice": "alice", "proj:payments:ci": "proj:payments:ci", "a\nb": "a?b",
		strings.Repeat("ü", 100): strings.Repeat("ü", 61),
	} {
		m := rollout.Manager(user)
		if got := rollout.Actor(m); got != want || len(m) > 128 {
			t.Errorf("%q: %q of %d bytes", user, got, len(m))
		}
	}
	if got := rollout.Actor("kubectl-annotate"); got != "kubectl-annotate" {
		t.Errorf("another manager is shown as %q", got)
	}
}

// TestWordsOfPeopleAreBounded: what somebody writes into an annotation is
// bounded where it is shown, and remains text: what the hub would store
// differently would be written again and again.
func TestWordsOfPeopleAreBounded(t *testing.T) {
	t.Parallel()
	w := scenario.New()
	if err := w.Play("fleet P5\nstart R1\npush R2"); err != nil {
		t.Fatal(err)
	}
	w.Set.Annotations[v1alpha1.AnnotationPauseRollout] = "x" + strings.Repeat("ü", 100)
	w.Set.Annotations[v1alpha1.AnnotationPauseReason] = strings.Repeat("€", 100_000)
	d := rollout.Next(rollout.Input{Set: w.Set, Members: w.Members(), Now: w.Now})
	raw, err := json.Marshal(d.Conditions)
	if err != nil || bytes.Contains(raw, []byte(`\x`)) || len(raw) > 4000 {
		t.Errorf("conditions of %d bytes: %s, %v", len(raw), raw[:min(len(raw), 2000)], err)
	}
	if got := d.Rollout.Pause.Reason; len(got) > 256 || len(got) < 250 || !utf8.ValidString(got) {
		t.Errorf("reason of %d bytes", len(got))
	}
}

// TestPauseNamesWhoSetIt tells people whom to ask.
func TestPauseNamesWhoSetIt(t *testing.T) {
	t.Parallel()
	w := scenario.New()
	if err := w.Play("fleet P5\nstart R1\npush R2"); err != nil {
		t.Fatal(err)
	}
	w.Set.Annotations[v1alpha1.AnnotationPauseRollout] = "true"
	in := rollout.Input{Set: w.Set, Members: w.Members(), Now: w.Now, Actors: map[string]string{v1alpha1.AnnotationPauseRollout: "alice"}}
	for _, e := range rollout.Next(in).Events {
		if e.Reason == "RolloutPaused" && e.Message == "paused by Annotation (set by alice)" {
			return
		}
	}
	t.Errorf("nobody is named: %+v", rollout.Next(in).Events)
}
