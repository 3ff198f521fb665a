package syncplan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

func TestMannerOf(t *testing.T) {
	const all = "mode=%s force=%v validate=%v migrate=%v"
	for _, c := range []struct {
		name, options, target, live string
		force                       bool
		want                        string
	}{
		{name: "default", want: fmt.Sprintf(all, "server-side", false, true, true)},
		{name: "client-side", options: "ServerSideApply=false", want: fmt.Sprintf(all, "client-side", false, true, true)},
		{name: "the object wins over the Application", options: "ServerSideApply=false", target: "ServerSideApply=true", want: fmt.Sprintf(all, "server-side", false, true, true)},
		{name: "the object opts out", options: "ServerSideApply=true", target: "ServerSideApply=false", want: fmt.Sprintf(all, "client-side", false, true, true)},
		{name: "replace", options: "Replace=true", want: fmt.Sprintf(all, "replace", false, true, true)},
		{name: "replace of one object", target: "Replace=true", want: fmt.Sprintf(all, "replace", false, true, true)},
		{name: "replace said on the cluster", live: "Replace=true", want: fmt.Sprintf(all, "replace", false, true, true)},
		{name: "replace undone by the object", options: "Replace=true", target: "Replace=false", want: fmt.Sprintf(all, "server-side", false, true, true)},
		{name: "replace before server-side", options: "Replace=true,ServerSideApply=true", want: fmt.Sprintf(all, "replace", false, true, true)},
		{name: "force", target: "Force=true", want: fmt.Sprintf(all, "client-side", true, true, true)},
		{name: "force said on the cluster", live: "Force=true", want: fmt.Sprintf(all, "client-side", true, true, true)},
		{name: "force is no option of an Application", options: "Force=true", want: fmt.Sprintf(all, "server-side", false, true, true)},
		{name: "force of the operation", force: true, want: fmt.Sprintf(all, "client-side", true, true, true)},
		{name: "replace and force", options: "Replace=true", force: true, want: fmt.Sprintf(all, "replace", true, true, true)},
		{name: "no validation", options: "Validate=false", want: fmt.Sprintf(all, "server-side", false, false, true)},
		{name: "no validation of one object", target: "Validate=false", want: fmt.Sprintf(all, "server-side", false, false, true)},
		{name: "no migration", options: "ClientSideApplyMigration=false", want: fmt.Sprintf(all, "server-side", false, true, false)},
		{name: "other letters", options: "replace=true", want: fmt.Sprintf(all, "server-side", false, true, true)},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, live := thing("ConfigMap/a", "sync-options="+c.target), thing("ConfigMap/a", "sync-options="+c.live)
			m := syncplan.MannerOf(target, live, strings.Split(c.options, ","), c.force)
			if got := fmt.Sprintf(all, m.Mode, m.Force, m.Validate, m.Migrate); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if m := m.Comparison(); m.Mode == syncplan.Replace || m.Force {
				t.Errorf("compared as %+v", m)
			}
		})
	}
}

func TestDeletionOptions(t *testing.T) {
	for _, c := range []struct {
		object, application string
		confirm, kept       bool
	}{
		{"", "", false, false},
		{"Delete=confirm", "", true, false},
		{"", "Delete=confirm", true, false},
		{"Delete=true", "Delete=confirm", false, false},
		{"Delete=false", "", false, true},
		{"", "Delete=false", false, true},
		{"Delete=true", "Delete=false", false, false},
		{"Delete=confirm", "Delete=false", true, false},
	} {
		live, options := thing("ConfigMap/a", "sync-options="+c.object), []string{c.application}
		if confirm, kept := syncplan.AsksConfirmation("Delete", live, options), syncplan.Kept(live, options); confirm != c.confirm || kept != c.kept {
			t.Errorf("object %q, application %q: confirm %v, kept %v", c.object, c.application, confirm, kept)
		}
	}
}

func TestPruneWaitsForConfirmation(t *testing.T) {
	o := start(thing("ConfigMap/wanted")).surplus(thing("ConfigMap/old", "sync-options=Prune=confirm")).surplus(thing("ConfigMap/free"))
	o.request.Prune = true
	o.run(t).expect(t, v1alpha1.OperationRunning)
	if o.move.Message != "waiting for pruning confirmation of /ConfigMap/old" {
		t.Errorf("message %q", o.move.Message)
	}
	o.request.Approved = true
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "prune free, prune old", "apply wanted")
}

func TestPruneLast(t *testing.T) {
	o := start(thing("ConfigMap/late", "sync-wave=3")).surplus(thing("ConfigMap/old")).surplus(thing("ConfigMap/first", "sync-options=PruneLast=false"))
	o.request.Prune, o.request.Options = true, []string{"PruneLast=true"}
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "apply late", "prune first, prune old")
	o = start(thing("ConfigMap/late", "sync-wave=3")).surplus(thing("ConfigMap/old", "sync-options=PruneLast=true"))
	o.request.Prune = true
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "apply late", "prune old")
	o = start(thing("ConfigMap/a")).surplus(thing("ConfigMap/high", "sync-wave=5")).surplus(thing("ConfigMap/low")).surplus(thing("ConfigMap/old", "sync-options=PruneLast=true"))
	o.request.Prune = true
	var order []string
	for _, task := range syncplan.Tasks(o.request) {
		order = append(order, task.Key.Name)
	}
	if got := strings.Join(order, " "); got != "a high low old" {
		t.Errorf("order %s, want what is to be last behind the prunes of all waves", got)
	}
}

// TestWordsOfSuccess (spec/sync.md §6): whether the last wave was the end, or
// the hooks in it.
func TestWordsOfSuccess(t *testing.T) {
	for name, c := range map[string]struct {
		o    *operation
		want string
	}{
		"one wave":          {start(thing("ConfigMap/a")), "successfully synced (all tasks run)"},
		"hooks before":      {start(thing("ConfigMap/a"), thing("ConfigMap/h", "hook=PreSync")), "successfully synced (all tasks run)"},
		"hooks in the end":  {start(thing("ConfigMap/a"), thing("ConfigMap/h", "hook=PostSync")), "successfully synced (no more tasks)"},
		"hooks of failures": {start(thing("ConfigMap/a"), thing("ConfigMap/h", "hook=SyncFail")), "successfully synced (all tasks run)"},
		"nothing to do":     {start(), "successfully synced (no more tasks)"},
	} {
		if c.o.run(t); c.o.move.Phase != v1alpha1.OperationSucceeded || c.o.move.Message != c.want {
			t.Errorf("%s: %s %q, want %q", name, c.o.move.Phase, c.o.move.Message, c.want)
		}
	}
}

func TestNamesOfTasks(t *testing.T) {
	for want, u := range map[string]string{"deployment.apps/web": "Deployment/web", "configmap/a": "ConfigMap/a"} {
		if got := (syncplan.Task{Key: object.KeyOf(thing(u))}).Name(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestOutOfSyncOnlyStillWaitsForWhatItApplied(t *testing.T) {
	o := start(thing("Deployment/same"), thing("Deployment/changed"), thing("ConfigMap/next", "sync-wave=1"))
	o.request.OutOfSyncOnly = true
	o.request.Attempted = func(id syncplan.TaskID) bool { _, done := o.results[id]; return done }
	for i, p := range o.request.Pairs {
		o.request.Pairs[i].InSync = p.Key.Name == "same"
	}
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply changed")
	for i := range o.request.Pairs { // what was applied is in sync now
		o.request.Pairs[i].InSync = o.request.Pairs[i].Key.Name != "next"
	}
	o.run(t).expect(t, v1alpha1.OperationRunning)
	o.settle("changed")
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "apply next")
}

func TestTheLastWaveIsAwaitedOnlyWithHooks(t *testing.T) {
	o := start(thing("Deployment/web"))
	o.run(t).expect(t, v1alpha1.OperationSucceeded, "apply web")
	o = start(thing("ConfigMap/early", "sync-wave=-1"), thing("Deployment/web"), thing("Job/check", "hook=Sync"))
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply early", "apply web", "create hook check")
	o.settle("check")
	o.run(t).expect(t, v1alpha1.OperationRunning)
	o.settle("web")
	o.run(t).expect(t, v1alpha1.OperationSucceeded)
}

func TestAHookOfTwoPhasesRunsTwice(t *testing.T) {
	o := start(thing("Job/twice", "hook=PreSync,PostSync"), thing("ConfigMap/a"))
	o.run(t).expect(t, v1alpha1.OperationRunning, "create hook twice")
	o.settle("twice")
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply a", "delete hook twice", "create hook twice")
}

func TestTheNamespaceComesBeforeAllThatNeedsIt(t *testing.T) {
	o := start(thing("Job/before", "hook=PreSync", "sync-wave=-7"), thing("ConfigMap/a"))
	ns := thing("Namespace/shop")
	o.request.Namespace = &syncplan.Pair{Key: object.KeyOf(ns), Target: ns}
	o.run(t).expect(t, v1alpha1.OperationRunning, "apply shop", "create hook before")
}

func TestHelmHooks(t *testing.T) {
	for text, want := range map[string]string{
		"pre-install": "[PreSync] true", "pre-upgrade": "[PreSync] true", "pre-install,pre-upgrade": "[PreSync] true", "post-install": "[PostSync] true",
		"post-upgrade": "[PostSync] true", "pre-delete": "[PreDelete] true", "post-delete": "[PostDelete] true", "crd-install": "[] false",
		"test": "[] true", "test-success": "[] true", "pre-rollback": "[] true", "post-rollback": "[] true",
	} {
		u := thing("Job/h")
		u.SetAnnotations(map[string]string{"helm.sh/hook": text, "helm.sh/hook-weight": "4"})
		phases, hook := syncplan.HookPhases(u)
		if got := fmt.Sprint(phases, hook); got != want || syncplan.Wave(u) != 4 {
			t.Errorf("helm hook %s: %s in wave %d, want %s in wave 4", text, got, syncplan.Wave(u), want)
		}
	}
	both := thing("Job/h", "hook=Sync", "sync-wave=1")
	marks := both.GetAnnotations()
	marks["helm.sh/hook"], marks["helm.sh/hook-weight"] = "pre-install", "9"
	both.SetAnnotations(marks)
	if phases, _ := syncplan.HookPhases(both); !slices.Equal(phases, []syncplan.Phase{syncplan.Sync}) || syncplan.Wave(both) != 1 {
		t.Errorf("an object with both kinds of marks runs in %v, wave %d", phases, syncplan.Wave(both))
	}
}

func TestDeletionHooks(t *testing.T) {
	pair := func(name, code string, marks ...string) syncplan.Pair {
		u := thing("Job/"+name, marks...)
		p := syncplan.Pair{Key: object.KeyOf(u), Target: u}
		if code != "" {
			p.Live = u
		}
		return p
	}
	codes := map[string]string{"busy": "Progressing", "bad": "Degraded", "good": "Healthy", "odd": "Unknown", "kept": "Healthy"}
	assess := func(k object.Key) (health.Status, bool) {
		return health.Status{Code: v1alpha1.HealthStatusCode(codes[k.Name])}, true
	}
	hooks := []syncplan.Pair{
		pair("new", "", "hook=PreDelete"), pair("busy", "x", "hook=PreDelete"), pair("bad", "x", "hook=PreDelete"), pair("good", "x", "hook=PreDelete"),
		pair("odd", "x", "hook=PreDelete"), pair("other", "", "hook=PostDelete"),
	}
	m := syncplan.Deletion(syncplan.PreDelete, hooks, assess)
	if got := fmt.Sprint(names(m.Create), names(m.Delete), names(m.Waiting), m.Done()); got != "[new] [bad] [busy] false" {
		t.Errorf("create, delete, wait: %s", got)
	}
	if m := syncplan.Deletion(syncplan.PreDelete, hooks[3:], assess); !m.Done() {
		t.Errorf("not done: %+v", m)
	}
	ended := []syncplan.Pair{pair("good", "x", "hook=PostDelete", "hook-delete-policy=HookSucceeded"), pair("kept", "x", "hook=PostDelete")}
	if got := names(syncplan.DeletionCleanup(syncplan.PostDelete, ended, assess)); fmt.Sprint(got) != "[good]" {
		t.Errorf("cleaned up after success: %v", got)
	}
	ended = append(ended, pair("bad", "x", "hook=PostDelete", "hook-delete-policy=HookFailed"))
	if got := names(syncplan.DeletionCleanup(syncplan.PostDelete, ended, assess)); fmt.Sprint(got) != "[bad]" {
		t.Errorf("cleaned up after a failure: %v", got)
	}
	if pre, post := syncplan.DeletionPhases(hooks); !pre || !post {
		t.Errorf("phases %v %v", pre, post)
	}
}

func names(pairs []syncplan.Pair) []string {
	var out []string
	for _, p := range pairs {
		out = append(out, p.Key.Name)
	}
	return out
}
