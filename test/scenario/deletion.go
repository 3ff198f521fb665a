package scenario

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/domain/teardown"
)

// deletion is the set being deleted: what the process remembers of it.
type deletion struct {
	seen  map[types.UID]time.Time
	stuck []string
	done  bool
}

func (w *World) deletionVerbs() map[string]func([]string) error {
	return map[string]func([]string) error{
		"gate":    func(args []string) error { w.gate = args[0] == "on"; return nil },
		"type":    func(args []string) error { w.Set.Spec.Strategy.Type = args[0]; return nil },
		"nosteps": func([]string) error { w.rolling().Steps = nil; return nil },
		"policy": func(args []string) error {
			w.Set.Spec.SyncPolicy = &v1alpha1.ApplicationSetSyncPolicy{ApplicationsSync: &args[0]}
			return nil
		},
		"forbid": func(args []string) error { w.refused = args[0]; return nil },
		"off":    w.each(func(name string) { w.switchOff(w.Desired[name]); w.switchOff(w.Apps[name]) }),
		"order":  func(args []string) error { w.Set.Spec.Strategy.DeletionOrder = args[0]; return nil },
		// erase deletes the set; its Applications go when they are gone.
		"erase": func([]string) error {
			w.deletion = &deletion{seen: map[types.UID]time.Time{}}
			return nil
		},
		"gone": w.each(func(name string) {
			if app := w.Apps[name]; app == nil || app.DeletionTimestamp == nil {
				w.problem("%s is not going", name)
			}
			delete(w.Apps, name)
		}),
	}
}

func (w *World) switchOff(app *v1alpha1.Application) {
	off := false
	app.Spec.SyncPolicy.Automated.Enabled = &off
}

// tearDown does what the controller does while the set is being deleted: it
// admits nothing any more.
func (w *World) tearDown() {
	apps := make([]*v1alpha1.Application, 0, len(w.Apps))
	for _, app := range w.Apps {
		apps = append(apps, app)
		if _, known := w.deletion.seen[app.UID]; app.DeletionTimestamp != nil && !known {
			w.deletion.seen[app.UID] = w.Now
		}
	}
	if !teardown.Ordered(w.Set, w.gate) { // the garbage collector takes them all
		for _, app := range apps {
			w.goes(app)
		}
		w.deletion.done, w.wake = true, 0
		return
	}
	d := teardown.Next(teardown.Input{Set: w.Set, Applications: apps, Seen: w.deletion.seen, Now: w.Now})
	w.deletion.stuck = nil
	for _, app := range d.Stuck {
		w.deletion.stuck = append(w.deletion.stuck, app.Name)
	}
	for _, app := range d.Delete {
		w.goes(app)
	}
	w.deletion.done, w.wake = d.Done, d.Wake
	if len(d.Delete) > 0 {
		w.tearDown()
	}
}

func (w *World) goes(app *v1alpha1.Application) {
	if app.DeletionTimestamp == nil {
		now := metav1.NewTime(w.Now.Add(-time.Hour)) // another clock: it does not count
		app.DeletionTimestamp = &now
		w.deletion.seen[app.UID] = w.Now
		w.touch(app)
	}
}

// idle does what the controller does for a set whose strategy is not carried
// out: it keeps no record, and says why.
func (w *World) idle() (changed bool) {
	before := w.Set.Status
	w.Set.Status = v1alpha1.ApplicationSetStatus{}
	if reason, words := rollout.Ignored(w.Set, w.gate); reason != "" {
		w.Set.Status.Conditions = []v1alpha1.ApplicationSetCondition{{Type: v1alpha1.AppSetStrategyIgnored, Status: "True", Reason: reason, Message: words}}
	}
	w.wake = 0
	clear(w.ledger.open)
	if changed = before.Rollout != nil || len(before.Conditions) != len(w.Set.Status.Conditions); changed {
		w.Writes++
	}
	return changed
}

// inhabitants are names of Applications that a script compares with a list.
func (w *World) inhabitants(what string) (got []string, known bool) {
	switch what {
	case "going":
		for name, app := range w.Apps {
			if app.DeletionTimestamp != nil {
				got = append(got, name)
			}
		}
	case "stuck":
		got = w.deletion.stuck
	case "automated": // they sync themselves
		for name, app := range w.Desired {
			if autosync.Enabled(app.Spec.SyncPolicy) && !rollout.Holds(w.Set, w.gate, app, w.annotationsOf(name)) {
				got = append(got, name)
			}
		}
	default:
		return nil, false
	}
	slices.Sort(got)
	return got, true
}

func (w *World) annotationsOf(name string) map[string]string {
	if app := w.Apps[name]; app != nil {
		return app.Annotations
	}
	return nil
}

// erased says whether the set is gone.
func (w *World) erased() string { return fmt.Sprint(w.deletion != nil && w.deletion.done) }
