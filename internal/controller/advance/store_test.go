package advance

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// forgetful is a hub whose definition of ApplicationSets knows no rollouts.
type forgetful struct {
	*crowd
	writes int
}

func (f *forgetful) Status() client.SubResourceWriter { return &forgetfulStatus{hub: f} }

type forgetfulStatus struct {
	client.SubResourceWriter
	hub *forgetful
}

// Update stores without the rollout; what the caller has in hand keeps it, as
// the answer of an API server does not take fields away.
func (s *forgetfulStatus) Update(ctx context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	s.hub.writes++
	if err := s.hub.crowd.Status().Update(ctx, o); err != nil {
		return err
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.sets[o.GetName()].Status.Rollout = nil
	return nil
}

func controllerOf(t *testing.T, hub *crowd, writer client.Client, clock *testclock.FakeClock) (*Controller, *record.FakeRecorder) {
	t.Helper()
	recorder := record.NewFakeRecorder(100)
	return New(Options{
		Client: writer, Cache: hub, Recorder: recorder, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Facts:     Facts{Gate: true, Clock: clock, Resolve: func(context.Context, string, v1alpha1.ApplicationSource) (string, error) { return "r1", nil }},
		Subscribe: func(string, v1alpha1.ApplicationSource, func()) (func(), error) { return func() {}, nil },
	}), recorder
}

// TestAHubThatDropsRollouts: where the hub has another program's definition,
// nothing is synced, that is told, and the set is not written again and again.
func TestAHubThatDropsRollouts(t *testing.T) {
	t.Parallel()
	crowd, outcomes := newCrowd(1, 2)
	hub := &forgetful{crowd: crowd}
	clock := testclock.NewFakeClock(time.Unix(1_800_000_000, 0))
	c, recorder := controllerOf(t, crowd, hub, clock)
	c.Offer(outcomes[0])
	turns := func() (last time.Duration) {
		for range 20 {
			again, err := c.reconcile(t.Context(), outcomes[0].Set)
			if err != nil {
				t.Fatal(err)
			}
			last = again
		}
		return last
	}
	if again := turns(); again != anew {
		t.Errorf("looked at again after %s, want %s", again, anew)
	}
	if hub.writes > 3 {
		t.Errorf("%d writes of a status that is not kept", hub.writes)
	}
	told := func() (n int) {
		for len(recorder.Events) > 0 {
			if e := <-recorder.Events; strings.HasPrefix(e, "Warning RolloutNotStored ") && strings.Contains(e, "sluice install") {
				n++
			}
		}
		return n
	}
	if n := told(); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
	before := hub.writes
	clock.Step(anew)
	turns()
	if n := told(); n != 1 || hub.writes > before+3 || crowd.operations != 0 {
		t.Errorf("half a minute later: told %d times, %d writes, %d operations", n, hub.writes-before, crowd.operations)
	}
}

// TestWhatAStoreCounts: rollbacks are counted when they begin, whatever number
// of Applications they return; operations that were not done in time when
// their Application fails for it, whether they still run or not.
func TestWhatAStoreCounts(t *testing.T) {
	t.Parallel()
	hub, outcomes := newCrowd(1, 2)
	c, _ := controllerOf(t, hub, hub, testclock.NewFakeClock(time.Unix(1_800_000_000, 0)))
	set := hub.sets["set-000"].DeepCopy()
	set.Status = status()
	next := status(func(s *v1alpha1.ApplicationSetStatus) {
		s.ApplicationStatus = []v1alpha1.ApplicationSetAppStatus{{Application: "a", Reason: rollout.ReasonTimedOut}, {Application: "b", Reason: rollout.ReasonRollingBack}}
	})
	turn := &turn{Controller: c, key: outcomes[0].Set, set: set, state: &state{}, log: c.Log}
	for _, events := range [][]rollout.Event{{{Reason: "RolloutRollbackStarted"}, {Reason: "RolloutApplicationFailed"}}, nil} {
		if err := turn.store(t.Context(), next, rollout.Decision{Events: events}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := testutil.ToFloat64(c.metrics.rollbacks.WithLabelValues("argocd", "set-000")); got != 1 {
		t.Errorf("%v rollbacks, want 1", got)
	}
	if got := testutil.ToFloat64(c.metrics.operations.WithLabelValues("argocd", "set-000", "timeout")); got != 1 {
		t.Errorf("%v operations that were not done in time, want 1", got)
	}
}
