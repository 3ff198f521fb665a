package syncplan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

func going(u *unstructured.Unstructured, finalizers ...string) *unstructured.Unstructured {
	now := metav1.Now()
	u.SetDeletionTimestamp(&now)
	u.SetFinalizers(finalizers)
	return u
}

// TestWhatWasPrunedIsStillGoing: its wave is written, the next one waits and
// names the finalizers.
func TestWhatWasPrunedIsStillGoing(t *testing.T) {
	old := going(thing("ConfigMap/old"), "example.com/never", metav1.FinalizerDeleteDependents)
	o := start(thing("ConfigMap/now"), thing("ConfigMap/late", "sync-wave=1")).surplus(old)
	o.request.Prune = true
	id := syncplan.TaskID{Key: object.KeyOf(old), Phase: syncplan.Sync}
	o.results[id] = syncplan.Result{Status: v1alpha1.ResultPruned, Phase: v1alpha1.OperationSucceeded}
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply now")
	if want := "waiting for deletion of /ConfigMap/old (finalizers example.com/never)"; o.move.Message != want {
		t.Errorf("message %q, want %q", o.move.Message, want)
	}
	delete(o.live, object.KeyOf(old))
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "apply late")
}

// TestTerminateReleasesHooksThatGo: nobody will read their results any more.
func TestTerminateReleasesHooksThatGo(t *testing.T) {
	o := start(thing("Job/before", "hook=PreSync"), thing("ConfigMap/a"))
	o.run(t)
	for k, live := range o.live {
		o.live[k] = going(live.DeepCopy(), syncplan.HookFinalizer)
	}
	r := o.request
	r.Pairs, r.Hooks = o.observe(r.Pairs), o.observe(r.Hooks)
	move := syncplan.Terminate(syncplan.State{
		Tasks: syncplan.Tasks(r), Results: o.results, Marker: marker,
		Health: func(object.Key) (health.Status, bool) { return health.Status{Code: health.Progressing}, true },
	})
	var verbs []string
	for _, g := range move.Groups {
		for _, a := range g {
			verbs = append(verbs, string(a.Verb)+" "+a.Task.Key.Name)
		}
	}
	if diff := cmp.Diff([]string{"release hook before"}, verbs); diff != "" {
		t.Errorf("acts (-want +got):\n%s", diff)
	}
}
