package generate

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/teardown"
)

// TestL2StuckIsToldOnce: people hear once of an Application that does not go,
// and again of another one under its name; a process that starts while it has
// been going for long tells at once. Other Applications of its step wait for as
// long as the process itself has seen it going.
func TestL2StuckIsToldOnce(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	set := &v1alpha1.ApplicationSet{}
	one := intstr.FromInt32(1)
	set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: "RollingSync", DeletionOrder: "Reverse", RollingSync: &v1alpha1.RollingSync{Steps: []v1alpha1.RolloutStep{{MaxUpdate: &one}}}}
	app, next := &v1alpha1.Application{}, &v1alpha1.Application{}
	app.Name, app.UID, next.Name, next.UID = "a", "1", "b", "2"
	apps := []*v1alpha1.Application{app, next}
	g := newGoing()
	look := func(at time.Time) (told, deleted int) {
		g.observe(apps, at)
		d := teardown.Next(teardown.Input{Set: set, Applications: apps, Seen: g.seen, Now: at})
		return len(g.unwarned(g.stuck(apps, d.Stuck))), len(d.Delete)
	}
	type step struct {
		after         time.Duration
		told, deleted int
	}
	expect := func(what string, steps ...step) {
		t.Helper()
		for _, s := range steps {
			if told, deleted := look(now.Add(s.after)); told != s.told || deleted != s.deleted {
				t.Errorf("%s, after %s: told %d times, %d deleted, want %d and %d", what, s.after, told, deleted, s.told, s.deleted)
			}
		}
	}
	expect("nothing goes yet", step{0, 0, 1})
	app.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Hour)} // the API server's clock does not count
	expect("it goes", step{time.Second, 0, 0}, step{119 * time.Second, 0, 0}, step{2*time.Minute + time.Second, 1, 1}, step{3 * time.Minute, 0, 1}, step{time.Hour, 0, 1})
	app.UID = "3"
	expect("another one under the name", step{time.Hour, 0, 0}, step{time.Hour + 2*time.Minute, 1, 1})
	g = newGoing()
	expect("after a restart", step{0, 1, 0}, step{time.Minute, 0, 0}, step{2 * time.Minute, 0, 1})
	app.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Minute)}
	g = newGoing()
	expect("after a restart soon after", step{0, 0, 0}, step{2 * time.Minute, 1, 1})
}

// TestFinalizersToGo: a cluster that is gone does not hold a deletion up, and
// preserved resources stay even where an older finalizer would delete them.
func TestFinalizersToGo(t *testing.T) {
	const other = "example.com/other"
	for _, c := range []struct {
		name                 string
		preserve, registered bool
		template             []string
		want                 []string
	}{
		{"as usual", false, true, nil, []string{v1alpha1.FinalizerResources, v1alpha1.FinalizerResourcesBackground, other}},
		{"the cluster is gone", false, false, nil, []string{other}},
		{"resources are preserved", true, true, nil, []string{other}},
		{"preserved, yet the template asks for a finalizer", true, true, []string{v1alpha1.FinalizerResources}, []string{v1alpha1.FinalizerResources, v1alpha1.FinalizerResourcesBackground, other}},
	} {
		set, app := &v1alpha1.ApplicationSet{}, &v1alpha1.Application{}
		set.Spec.SyncPolicy = &v1alpha1.ApplicationSetSyncPolicy{PreserveResourcesOnDeletion: c.preserve}
		set.Spec.Template.Finalizers = c.template
		app.Finalizers = []string{v1alpha1.FinalizerResources, v1alpha1.FinalizerResourcesBackground, other}
		if got := finalizersToGo(set, app, c.registered); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
