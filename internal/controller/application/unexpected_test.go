package application

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// TestPanicsStayWithTheirObject: a panic on the way of one object, here for want
// of a connection, is that object's fault alone, and one elsewhere in a sync
// ends it with its text.
func TestPanicsStayWithTheirObject(t *testing.T) {
	t.Parallel()
	p := comparing(t)
	p.conn, p.log = nil, slog.New(slog.DiscardHandler)
	task := syncplan.Task{Phase: syncplan.Sync, Key: object.Key{Kind: "ConfigMap", Name: "a"}, Target: configMap("shop/a"), Live: configMap("shop/a")}
	says := func(where, text string) {
		t.Helper()
		if !strings.Contains(text, "failed unexpectedly") {
			t.Errorf("%s: %q", where, text)
		}
	}

	found := &verdicts{results: map[object.Key]diff.Result{}, unknown: map[object.Key]string{}, memory: map[object.Key]string{}}
	pair := &syncplan.Pair{Key: task.Key, Target: task.Target, Live: task.Live, InSync: true}
	if err := (judgement{pass: p, found: found}).compared(t.Context(), pair, diff.Ignore{}); err != nil || pair.InSync {
		t.Errorf("%v, in sync %t", err, pair.InSync)
	}
	says("comparison", found.unknown[task.Key])

	x := &execution{pass: p, results: map[syncplan.TaskID]syncplan.Result{}}
	if err := x.carryOut(t.Context(), []syncplan.Act{{Verb: syncplan.Apply, Task: task}}); err != nil {
		t.Error(err)
	}
	r := x.results[task.ID()]
	if says("write", r.Message); r.Status != v1alpha1.ResultSyncFailed || r.Phase != v1alpha1.OperationFailed {
		t.Errorf("%+v", r)
	}
	text, err := x.doubted(t.Context(), task, true)
	if says("check", text); err != nil {
		t.Error(err)
	}

	p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}}
	p.app.Spec.Source = &v1alpha1.ApplicationSource{}
	p.app.Status.OperationState = &v1alpha1.OperationState{Phase: v1alpha1.OperationRunning}
	phase, message, err := p.stepped(t.Context())
	if says("sync", message); phase != v1alpha1.OperationError || err != nil {
		t.Errorf("%s, %v", phase, err)
	}
}
