package eventlog

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
)

// TestEventsAreToldOnceEach: ten rollouts of ten steps within a minute are told
// step by step; an Application that flaps floods nobody, and what is told of it
// for another reason is still told.
func TestEventsAreToldOnceEach(t *testing.T) {
	clock := testclock.NewFakeClock(time.Unix(1_800_000_000, 0))
	options := correlation()
	options.Clock = clock
	correlator := record.NewEventCorrelatorWithOptions(options)
	told := func(name, reason, message string) bool {
		t.Helper()
		now := metav1.NewTime(clock.Now())
		event := &corev1.Event{
			InvolvedObject: corev1.ObjectReference{Kind: "ApplicationSet", Namespace: "argocd", Name: name, UID: "u"}, Reason: reason, Message: message,
			Source: corev1.EventSource{Component: "applicationset-controller"}, Type: corev1.EventTypeNormal, FirstTimestamp: now, LastTimestamp: now, Count: 1,
		}
		result, err := correlator.EventCorrelate(event)
		if err != nil {
			t.Fatal(err)
		}
		return !result.Skip
	}
	for id := range 10 {
		for step := range 10 {
			for _, reason := range []string{"RolloutStepStarted", "RolloutStepHealthy", "RolloutStepCompleted"} {
				clock.Step(200 * time.Millisecond)
				if message := fmt.Sprintf("rollout %d: step %d", id, step); !told("payment", reason, message) {
					t.Fatalf("%s of %s is not told", reason, message)
				}
			}
		}
	}
	shown := 0
	for i := range 5000 {
		clock.Step(100 * time.Millisecond)
		if told("flapping", "RolloutHealthRegressed", fmt.Sprintf("change %d", i)) {
			shown++
		}
	}
	if shown < 100 || shown > 160 {
		t.Errorf("%d of 5000 events of one that flaps are told", shown)
	}
	if !told("flapping", "RolloutHalted", "rollout 7 is halted") {
		t.Error("what matters is drowned by what floods")
	}
}
