package advance

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

var errListed = errors.New("a turn began")

// oneSet is a cache of one set in which a turn cannot go on.
type oneSet struct {
	cache.Cache
	set v1alpha1.ApplicationSet
}

func (o *oneSet) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	set, ok := into.(*v1alpha1.ApplicationSet)
	if !ok {
		return errListed
	}
	o.set.DeepCopyInto(set)
	return nil
}

func (o *oneSet) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errListed
}

// TestL8DeletedSetAdmitsNothing: the turn that would admit does not begin for
// a set that is being deleted.
func TestL8DeletedSetAdmitsNothing(t *testing.T) {
	hub := &oneSet{set: v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Status: status()}}
	c := New(Options{
		Cache: hub, Facts: Facts{Gate: true, Clock: testclock.NewFakeClock(time.Unix(1, 0))}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	c.Offer(appset.Outcome{Set: key, Complete: true})
	if _, err := c.reconcile(t.Context(), key); !errors.Is(err, errListed) {
		t.Errorf("a set in mid-rollout: %v, want a turn", err)
	}
	hub.set.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	if again, err := c.reconcile(t.Context(), key); err != nil || again != 0 {
		t.Errorf("a set that is being deleted: again after %s, %v; want nothing", again, err)
	}
}

// TestBlindOutcomeKeepsTheRecord: while nobody knows which Applications the set
// should have, nothing is decided and nothing is forgotten; what went wrong is
// shown.
func TestBlindOutcomeKeepsTheRecord(t *testing.T) {
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Status: status()}
	set.Status.Conditions = []v1alpha1.ApplicationSetCondition{{Type: v1alpha1.AppSetRolloutProgressing, Status: "True"}}
	c := New(Options{Facts: Facts{Gate: true, Clock: testclock.NewFakeClock(time.Unix(1, 0))}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	turn := &turn{Controller: c, key: key, set: set, outcome: appset.Outcome{Set: key, Blind: true, Conditions: []v1alpha1.ApplicationSetCondition{
		{Type: v1alpha1.AppSetErrorOccurred, Status: "True", Message: "git is down"},
	}}}
	next, decision, _ := turn.decide(t.Context())
	if !equality.Semantic.DeepEqual(next.Rollout, set.Status.Rollout) || !equality.Semantic.DeepEqual(next.ApplicationStatus, set.Status.ApplicationStatus) {
		t.Errorf("the record became %+v", next.Rollout)
	}
	if len(decision.Operations) != 0 || len(next.Conditions) != 2 {
		t.Errorf("decision %+v, conditions %+v", decision, next.Conditions)
	}
}
