package application

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
)

// heads resolves every source to one revision.
type heads struct {
	manifest.Renderer
	revision string
}

func (h heads) Resolve(context.Context, string, v1alpha1.ApplicationSource, bool) (string, error) {
	if h.revision == "" {
		return "", errors.New("repository does not answer")
	}
	return h.revision, nil
}

// TestNewCommitsAndRepetitions says for whom a new commit ends the wait for a
// repetition of the old one.
func TestNewCommitsAndRepetitions(t *testing.T) {
	rollout := []*v1alpha1.Info{{Name: "RolloutOperation", Value: "op-7"}}
	for name, c := range map[string]struct {
		op   v1alpha1.Operation
		head string
		want string
	}{
		"automated":                      {v1alpha1.Operation{InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}, "new", "new"},
		"automated, same revision":       {v1alpha1.Operation{InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}, "old", ""},
		"automated, nobody answers":      {v1alpha1.Operation{InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}, "", ""},
		"by hand":                        {v1alpha1.Operation{}, "new", ""},
		"by hand with refresh":           {v1alpha1.Operation{Retry: v1alpha1.RetryStrategy{Refresh: true}}, "new", "new"},
		"a rollout's, even with refresh": {v1alpha1.Operation{Retry: v1alpha1.RetryStrategy{Refresh: true}, Info: rollout}, "new", ""},
	} {
		p := windowedPass(friday(16))
		p.Manifests = heads{revision: c.head}
		p.app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/a"}
		c.op.Sync = &v1alpha1.SyncOperation{Revision: "old"}
		p.app.Operation = &c.op
		p.app.Status.OperationState = &v1alpha1.OperationState{SyncResult: &v1alpha1.SyncOperationResult{Revision: "old"}}
		if got := p.newer(t.Context()); got != c.want {
			t.Errorf("%s: newer revision %q, want %q", name, got, c.want)
		}
	}
}

func TestRepetitions(t *testing.T) {
	finished := metav1.NewTime(friday(16).Add(-time.Second))
	for name, c := range map[string]struct {
		refresh, cutShort, due bool
		revision               string
	}{
		"the pause is not over":    {due: false, revision: "old"},
		"a commit cuts it short":   {cutShort: true, refresh: true, due: true},
		"without refresh it keeps": {cutShort: true, due: true, revision: "old"},
	} {
		p := windowedPass(friday(16))
		p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "old"}, Retry: v1alpha1.RetryStrategy{Refresh: c.refresh}}
		state := &v1alpha1.OperationState{RetryCount: 1, FinishedAt: &finished, SyncResult: &v1alpha1.SyncOperationResult{Revision: "old"}}
		due := p.retryDue(state, c.cutShort)
		if due != c.due || p.app.Operation.Sync.Revision != c.revision || due != (state.FinishedAt == nil) {
			t.Errorf("%s: due %v, revision %q, state %+v", name, due, p.app.Operation.Sync.Revision, state)
		}
		if !due && p.again != 4*time.Second {
			t.Errorf("%s: again in %s, want 4s", name, p.again)
		}
	}
}
