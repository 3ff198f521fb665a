package rest

import (
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// TestSyncResultStandsForOperation: the one path that gives something else than
// it names, for clients that expect it.
func TestSyncResultStandsForOperation(t *testing.T) {
	t.Parallel()
	app := &v1alpha1.Application{}
	app.Status.OperationState = &v1alpha1.OperationState{
		Phase: v1alpha1.OperationRunning, Operation: v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "asked", Prune: true}},
	}
	selected := func(fields string) string {
		t.Helper()
		s, err := parseFields(fields)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.encode(app)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	const path = "status.operationState.operation.sync"
	if got, want := selected(path), `{"status":{"operationState":{"operation":{"sync":{"revision":"asked","prune":true}}}}}`; got != want {
		t.Errorf("without a result: %s, want %s", got, want)
	}
	app.Status.OperationState.SyncResult = &v1alpha1.SyncOperationResult{Revision: "done"}
	for fields, want := range map[string]string{
		path:                                  `{"status":{"operationState":{"operation":{"sync":{"revision":"done","source":{"repoURL":""}}}}}}`,
		path + ",status.operationState.phase": `{"status":{"operationState":{"operation":{"sync":{"revision":"done","source":{"repoURL":""}}},"phase":"Running"}}}`,
		"status.operationState.operation":     `{"status":{"operationState":{"operation":{"sync":{"revision":"asked","prune":true},"initiatedBy":{},"retry":{}}}}}`,
		path + ".prune":                       `{"status":{"operationState":{"operation":{"sync":{"prune":true}}}}}`,
	} {
		if got := selected(fields); got != want {
			t.Errorf("%s: %s, want %s", fields, got, want)
		}
	}
}
