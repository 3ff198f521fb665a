package application

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
)

// twoHeads resolves to another revision when it is asked anew, or to nothing.
type twoHeads struct {
	manifest.Renderer
	known, fresh string
}

func (s twoHeads) Resolve(_ context.Context, _ string, _ v1alpha1.ApplicationSource, fresh bool) (string, error) {
	if !fresh {
		return s.known, nil
	}
	if s.fresh == "" {
		return "", errors.New("repository does not answer")
	}
	return s.fresh, nil
}

// byAnn is a pass whose operation by a person has just ended.
func byAnn(revision string) *pass {
	p := windowedPass(friday(16))
	p.app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/a"}
	p.app.Status.Sync.Digest = "d"
	p.app.Status.OperationState = &v1alpha1.OperationState{
		Phase: v1alpha1.OperationSucceeded, Override: true,
		Operation:  v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: revision}, InitiatedBy: v1alpha1.OperationInitiator{Username: "ann"}},
		SyncResult: &v1alpha1.SyncOperationResult{Revision: revision, Source: *p.app.Spec.Source},
	}
	p.ended = true
	return p
}

func (p *pass) told(reason string) string {
	at := slices.IndexFunc(p.events, func(e event) bool { return e.reason == reason })
	if at < 0 {
		return ""
	}
	return p.events[at].message
}

func (p *pass) says(kind string) string {
	at := slices.IndexFunc(p.app.Status.Conditions, func(c v1alpha1.ApplicationCondition) bool { return c.Type == kind })
	if at < 0 {
		return ""
	}
	return p.app.Status.Conditions[at].Message
}

func TestWhatAPersonDeployedIsHeldUntilItIsReleased(t *testing.T) {
	p := byAnn("old")
	p.review()
	p.automate(t.Context())
	p.showHold()
	h := p.app.Status.Hold
	if h == nil || h.By != "ann" || p.app.Operation != nil {
		t.Fatalf("hold %+v, operation %+v", h, p.app.Operation)
	}
	for _, text := range []string{p.told("OperatorHold"), p.says(v1alpha1.ConditionOperatorHold)} {
		if !strings.Contains(text, "held at [old] by ann (ManualOverride): the target [abc] is not synced until") || !strings.Contains(text, "app resume web") {
			t.Errorf("said %q", text)
		}
	}
	p.events, p.ended = nil, false
	p.review()
	if p.app.Status.Hold == nil || len(p.events) > 0 {
		t.Fatalf("the hold lasts no pass: %+v, %v", p.app.Status.Hold, p.events)
	}
	p.app.Annotations = map[string]string{v1alpha1.AnnotationReleaseHold: "bob"}
	p.review()
	p.automate(t.Context())
	p.showHold()
	if p.app.Status.Hold != nil || len(p.app.Annotations) > 0 || p.says(v1alpha1.ConditionOperatorHold) != "" {
		t.Errorf("after the release: %+v, %v, %v", p.app.Status.Hold, p.app.Annotations, p.app.Status.Conditions)
	}
	if got := p.told("HoldReleased"); got != "No longer held at [old]: released by bob" {
		t.Errorf("event %q", got)
	}
	if p.app.Operation == nil || p.app.Operation.Sync.Revision != "abc" {
		t.Errorf("the target is not synced after the release: %+v", p.app.Operation)
	}
}

// TestGitIsAskedAnewBeforeAHold: the target of the controller may be older than
// what the person has just pushed and deployed.
func TestGitIsAskedAnewBeforeAHold(t *testing.T) {
	for name, c := range map[string]struct {
		git  twoHeads
		want bool
	}{
		"the newest, not heard of yet":    {twoHeads{known: "abc", fresh: "pushed"}, false},
		"an older one":                    {twoHeads{known: "pushed", fresh: "newest"}, true},
		"Git is away, it is the last":     {twoHeads{known: "pushed"}, false},
		"Git is away, it is not the last": {twoHeads{known: "abc"}, true},
	} {
		p := byAnn("pushed")
		p.Manifests = c.git
		p.app.Operation = &p.app.Status.OperationState.Operation
		if got := p.overrides(t.Context(), p.app.Status.OperationState.SyncResult); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestATargetThatFailsIsGivenUp: the hold of an automatic rollback is there with
// its operation, so that no target can come in between.
func TestATargetThatFailsIsGivenUp(t *testing.T) {
	p := byAnn("abc")
	at := metav1.NewTime(friday(16).Add(-10 * time.Minute))
	state := p.app.Status.OperationState
	state.FinishedAt, state.Override = &at, false
	p.app.Status.Health = v1alpha1.AppHealthStatus{Status: v1alpha1.HealthDegraded, LastTransitionTime: &at}
	p.app.Spec.SyncPolicy.Automated.OnFailure = "Rollback"
	p.app.Status.History = []v1alpha1.RevisionHistory{
		{ID: 1, Revision: "good", Source: *p.app.Spec.Source, Health: v1alpha1.HealthHealthy}, {ID: 2, Revision: "abc", Source: *p.app.Spec.Source},
	}
	p.review()
	p.automate(t.Context())
	p.showHold()
	if p.app.Operation == nil || p.app.Operation.Sync.Revision != "good" || p.app.Status.Hold == nil || p.app.Status.Hold.Rejected[0] != "abc" {
		t.Fatalf("operation %+v, hold %+v", p.app.Operation, p.app.Status.Hold)
	}
	if got := p.told("OperationStarted"); got != "Initiated automated sync to 'good'" {
		t.Errorf("event %q", got)
	}
	if text := p.says(v1alpha1.ConditionOperatorHold); !strings.Contains(text, "held at [good] (AutomaticRollback): the target [abc]") {
		t.Errorf("condition %q", text)
	}
	// The rollback ends; what it brought proves itself and stays.
	p.app.Status.OperationState.Phase, p.app.Status.OperationState.FinishedAt = v1alpha1.OperationSucceeded, &at
	p.app.Status.OperationState.SyncResult = &v1alpha1.SyncOperationResult{Revision: "good", Source: *p.app.Spec.Source}
	p.app.Status.History = append(p.app.Status.History, v1alpha1.RevisionHistory{ID: 3, Revision: "good", Source: *p.app.Spec.Source})
	p.app.Status.Health.Status, p.app.Status.Sync.AfterOperation = v1alpha1.HealthHealthy, p.app.Status.OperationState.ID
	p.app.Operation, p.ended = nil, true
	p.review()
	p.automate(t.Context())
	if p.app.Operation != nil || p.app.Status.Hold == nil || p.app.Status.History[2].Health != v1alpha1.HealthHealthy {
		t.Errorf("after the rollback: operation %+v, hold %+v, history %+v", p.app.Operation, p.app.Status.Hold, p.app.Status.History)
	}
}
