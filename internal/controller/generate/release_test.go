package generate

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/teardown"
)

// TestL2StuckIsToldOnce: people hear once of an Application that does not go,
// and again of another one under its name.
func TestL2StuckIsToldOnce(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	set := &v1alpha1.ApplicationSet{}
	set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: "RollingSync", DeletionOrder: "Reverse", RollingSync: &v1alpha1.RollingSync{Steps: []v1alpha1.RolloutStep{{}}}}
	app := &v1alpha1.Application{}
	app.Name, app.UID = "a", "1"
	app.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Hour)} // the API server's clock does not count
	g := &going{seen: map[types.UID]time.Time{}, warned: map[types.UID]bool{}}
	told := func(at time.Time) int {
		g.observe([]*v1alpha1.Application{app}, at)
		return len(g.unwarned(teardown.Next(teardown.Input{Set: set, Applications: []*v1alpha1.Application{app}, Seen: g.seen, Now: at}).Stuck))
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {119 * time.Second, 0}, {2 * time.Minute, 1}, {3 * time.Minute, 0}, {time.Hour, 0}} {
		if got := told(now.Add(step.after)); got != step.want {
			t.Errorf("after %s: told %d times, want %d", step.after, got, step.want)
		}
	}
	app.UID = "2"
	if got := told(now.Add(time.Hour)) + told(now.Add(time.Hour+2*time.Minute)); got != 1 {
		t.Errorf("another one under the name: told %d times", got)
	}
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
