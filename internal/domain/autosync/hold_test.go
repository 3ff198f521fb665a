package autosync_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/autosync"
)

var target = autosync.Target{Revisions: []string{"new"}, Digest: "d-new"}

// byHand makes the last operation a person's.
func byHand(a *v1alpha1.Application) {
	a.Status.OperationState.Operation.InitiatedBy.Username = "ann"
	a.Status.OperationState.Override = true
}

func wrote(a *v1alpha1.Application) {
	a.Status.OperationState.SyncResult.Resources = []*v1alpha1.ResourceResult{{Kind: "ConfigMap", Name: "a", Status: v1alpha1.ResultSynced}}
}

func manual(a *v1alpha1.Application) { a.Spec.SyncPolicy.Automated = nil }

func holds(revision string) func(*v1alpha1.Application) {
	return func(a *v1alpha1.Application) {
		a.Status.Hold = &v1alpha1.Hold{
			Revisions: []string{revision}, Source: a.Spec.Source, Reason: v1alpha1.HoldManualOverride, Rejected: []string{"new"}, RejectedDigest: "d-new",
		}
	}
}

func TestSettle(t *testing.T) {
	succeeded, failed := v1alpha1.OperationSucceeded, v1alpha1.OperationFailed
	for name, c := range map[string]struct {
		app  *v1alpha1.Application
		want string // the revision held
	}{
		"a person deploys another revision":              {app(succeeded, "old", byHand), "old"},
		"the same, with a hold already":                  {app(succeeded, "older", byHand, holds("old")), "older"},
		"the same, with the policy manual by now":        {app(succeeded, "older", byHand, holds("old"), manual), "older"},
		"a person deploys the target":                    {app(succeeded, "new", byHand), ""},
		"a person deploys the target, which ends a hold": {app(succeeded, "new", byHand, holds("old")), ""},
		"what was the target when it began":              {app(succeeded, "old", byHand, func(a *v1alpha1.Application) { a.Status.OperationState.Override = false }), ""},
		"the same, which ends a hold":                    {app(succeeded, "newer", byHand, holds("old"), func(a *v1alpha1.Application) { a.Status.OperationState.Override = false }), ""},
		"the same revision of another source":            {app(succeeded, "new", byHand, func(a *v1alpha1.Application) { a.Status.OperationState.SyncResult.Source.Path = "q" }), "new"},
		"without automated sync":                         {app(succeeded, "old", byHand, manual), ""},
		"an automated sync":                              {app(succeeded, "old", func(a *v1alpha1.Application) { a.Status.OperationState.Operation.InitiatedBy.Automated = true }), ""},
		"a self-heal of what is held":                    {app(succeeded, "old", holds("old"), func(a *v1alpha1.Application) { a.Status.OperationState.Operation.InitiatedBy.Automated = true }), "old"},
		"a dry run":                                      {app(succeeded, "old", byHand, func(a *v1alpha1.Application) { a.Status.OperationState.Operation.Sync.DryRun = true }), ""},
		"a part": {app(succeeded, "old", byHand, func(a *v1alpha1.Application) {
			a.Status.OperationState.Operation.Sync.Resources = make([]v1alpha1.SyncOperationResource, 1)
		}), ""},
		"a part of the target does not end a hold": {app(succeeded, "new", byHand, holds("old"), func(a *v1alpha1.Application) {
			a.Status.OperationState.Operation.Sync.Resources = make([]v1alpha1.SyncOperationResource, 1)
		}), "old"},
		"refused before the first write":                   {app(failed, "old", byHand), ""},
		"the target refused before the first write":        {app(failed, "new", byHand, holds("old")), "old"},
		"failed in the middle":                             {app(failed, "old", byHand, wrote), "old"},
		"the target failed in the middle, as it asked for": {app(failed, "new", byHand, holds("old"), wrote), ""},
		"no operation at all":                              {app("", "", holds("old")), "old"},
	} {
		h := autosync.Settle(c.app, target, now)
		got := ""
		if h != nil {
			got = h.Revisions[0]
		}
		if got != c.want {
			t.Errorf("%s: holds %q, want %q", name, got, c.want)
		}
		if h != nil && h != c.app.Status.Hold && (h.Reason != v1alpha1.HoldManualOverride || h.By != "ann" || h.RejectedDigest != "d-new" ||
			!reflect.DeepEqual(h.Rejected, target.Revisions) || !h.Since.Time.Equal(now) || h.Source == nil) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// TestEqualManifestsAreNotHeld: in a repository of many Applications another
// revision is often nothing else.
func TestEqualManifestsAreNotHeld(t *testing.T) {
	a := app(v1alpha1.OperationSucceeded, "old", byHand)
	a.Status.OperationState.Digest = target.Digest
	if h := autosync.Settle(a, target, now); h != nil {
		t.Errorf("held: %+v", h)
	}
	if h := autosync.Settle(a, autosync.Target{Revisions: target.Revisions}, now); h == nil {
		t.Error("not held, though nobody knows what the target renders to")
	}
}

func TestOverrides(t *testing.T) {
	a := app(v1alpha1.OperationSucceeded, "x")
	person, automated := &v1alpha1.Operation{}, &v1alpha1.Operation{InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}
	result := a.Status.OperationState.SyncResult
	unnamed := &v1alpha1.Operation{Info: []*v1alpha1.Info{nil, {Name: v1alpha1.InfoTarget}}}
	for _, c := range []struct {
		op     *v1alpha1.Operation
		target []string
		want   bool
	}{{person, []string{"x"}, false}, {person, []string{"y"}, true}, {person, nil, true}, {automated, []string{"y"}, false}, {unnamed, []string{"y"}, false}} {
		if got := autosync.Overrides(a, c.op, result, c.target); got != c.want {
			t.Errorf("%+v of %v: %v", c.op.InitiatedBy, c.target, got)
		}
	}
}

func TestReview(t *testing.T) {
	release := func(by string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) { a.Annotations = map[string]string{v1alpha1.AnnotationReleaseHold: by} }
	}
	unrendered := func(a *v1alpha1.Application) { a.Status.Hold.RejectedDigest = "" }
	unresolved := func(a *v1alpha1.Application) { a.Status.Hold.Rejected, a.Status.Hold.RejectedDigest = nil, "" }
	off := false
	for name, c := range map[string]struct {
		app    *v1alpha1.Application
		target autosync.Target
		digest string // of what is rejected, while the hold lasts
		why    string
	}{
		"the same target":                         {app("", "", holds("old")), target, "d-new", ""},
		"a commit that changes nothing of it":     {app("", "", holds("old")), autosync.Target{Revisions: []string{"newer"}, Digest: "d-new"}, "d-new", ""},
		"a commit that changes it":                {app("", "", holds("old")), autosync.Target{Revisions: []string{"newer"}, Digest: "d-newer"}, "", "the target changed to [newer]"},
		"its parameters change":                   {app("", "", holds("old")), autosync.Target{Revisions: []string{"new"}, Digest: "d-other"}, "", "the target changed"},
		"a commit that does not render":           {app("", "", holds("old")), autosync.Target{Revisions: []string{"newer"}}, "d-new", ""},
		"Git does not answer":                     {app("", "", holds("old")), autosync.Target{}, "d-new", ""},
		"Git says what is held":                   {app("", "", holds("old")), autosync.Target{Revisions: []string{"old"}, Digest: "d-old"}, "", "what is held is the target now"},
		"what did not render now does":            {app("", "", holds("old"), unrendered), target, "d-new", ""},
		"what did not render is mended":           {app("", "", holds("old"), unrendered), autosync.Target{Revisions: []string{"newer"}, Digest: "d-newer"}, "", "the target changed"},
		"what was not known is what was rejected": {app("", "", holds("old"), unresolved), target, "d-new", ""},
		"released":                 {app("", "", holds("old"), release("ann")), target, "", "released by ann"},
		"released by nobody known": {app("", "", holds("old"), release("")), target, "", "released"},
		"taken over by a rollout": {app("", "", holds("old"), func(a *v1alpha1.Application) {
			a.Spec.SyncPolicy.Automated.Enabled = &off
			a.Annotations = map[string]string{v1alpha1.AnnotationRolloutHeldBy: "set"}
		}), target, "", "the rollout of ApplicationSet set"},
		"nothing is held": {app("", ""), target, "", ""},
	} {
		h, why := autosync.Review(c.app, c.target)
		digest := ""
		if h != nil {
			digest = h.RejectedDigest
		}
		if digest != c.digest || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: hold %+v, %q; want digest %q, %q", name, h, why, c.digest, c.why)
		}
	}
}

func TestHeal(t *testing.T) {
	changed := []v1alpha1.ResourceStatus{{Kind: "Deployment", Name: "web", Status: v1alpha1.SyncStatusOutOfSync}, {Kind: "ConfigMap", Name: "same", Status: v1alpha1.SyncStatusSynced}}
	succeeded := v1alpha1.OperationSucceeded
	for name, c := range map[string]struct {
		app     *v1alpha1.Application
		status  v1alpha1.SyncStatusCode
		starts  bool
		wait    time.Duration
		refused string
	}{
		"drift":                                {app(succeeded, "old", heal, holds("old")), v1alpha1.SyncStatusOutOfSync, true, 0, ""},
		"after another operation":              {app(succeeded, "other", heal, holds("old")), v1alpha1.SyncStatusOutOfSync, true, 0, ""},
		"no drift":                             {app(succeeded, "old", heal, holds("old")), v1alpha1.SyncStatusSynced, false, 0, ""},
		"not known":                            {app(succeeded, "old", heal, holds("old")), v1alpha1.SyncStatusUnknown, false, 0, ""},
		"without self-heal":                    {app(succeeded, "old", holds("old")), v1alpha1.SyncStatusOutOfSync, false, 0, ""},
		"too often":                            {app(succeeded, "old", heal, holds("old"), attempts(3)), v1alpha1.SyncStatusOutOfSync, false, 8 * time.Second, ""},
		"what is held failed":                  {app(v1alpha1.OperationFailed, "old", heal, holds("old")), v1alpha1.SyncStatusOutOfSync, false, 0, "Failed last sync attempt to [old]: why"},
		"nothing is held":                      {app(succeeded, "old", heal), v1alpha1.SyncStatusOutOfSync, false, 0, ""},
		"automated sync is off":                {app(succeeded, "old", holds("old"), manual), v1alpha1.SyncStatusOutOfSync, false, 0, ""},
		"an operation runs":                    {app(v1alpha1.OperationRunning, "other", heal, holds("old")), v1alpha1.SyncStatusOutOfSync, false, 0, ""},
		"an operation is requested, not begun": {app(succeeded, "old", heal, holds("old"), func(a *v1alpha1.Application) { a.Operation = &v1alpha1.Operation{} }), v1alpha1.SyncStatusOutOfSync, false, 0, ""},
	} {
		d := autosync.Heal(c.app, autosync.Seen{Status: c.status, Revisions: []string{"old"}, Resources: changed, Pace: autosync.DefaultPace}, now)
		if (d.Operation != nil) != c.starts || d.Wait != c.wait || !strings.Contains(d.Refused, c.refused) || (d.Refused == "") != (c.refused == "") {
			t.Errorf("%s: %+v", name, d)
		}
		if o := d.Operation; o != nil && (o.Sync.Revision != "old" || o.Sync.Source == nil || len(o.Sync.Resources) != 1 || o.Sync.Resources[0].Name != "web" || !o.InitiatedBy.Automated || o.Sync.AutoHealAttemptsCount != 1) {
			t.Errorf("%s: operation %+v", name, o.Sync)
		}
		if c.app.Status.Hold == nil {
			continue
		}
		if d := autosync.Decide(c.app, autosync.Seen{Status: v1alpha1.SyncStatusOutOfSync, Revisions: []string{"new"}, Resources: changed}, now); d.Operation != nil || d.Refused != "" {
			t.Errorf("%s: a held Application syncs by itself: %+v", name, d)
		}
	}
	several := app(succeeded, "", heal, func(a *v1alpha1.Application) {
		a.Spec.Source, a.Spec.Sources = nil, []v1alpha1.ApplicationSource{{RepoURL: "a"}, {RepoURL: "b"}}
		a.Status.Hold = &v1alpha1.Hold{Revisions: []string{"1", "2"}, Sources: a.Spec.Sources}
	})
	forbidden := []v1alpha1.ResourceStatus{{Kind: "Secret", Name: "s", Status: v1alpha1.SyncStatusUnknown}}
	for _, a := range []*v1alpha1.Application{app(succeeded, "old", heal, holds("old")), app(succeeded, "other", heal, holds("old"))} {
		if d := autosync.Heal(a, autosync.Seen{Status: v1alpha1.SyncStatusOutOfSync, Revisions: []string{"old"}, Resources: forbidden}, now); d.Operation != nil {
			t.Errorf("what the project forbids leads to a sync of everything: %+v", d.Operation.Sync)
		}
	}
	d := autosync.Heal(several, autosync.Seen{Status: v1alpha1.SyncStatusOutOfSync, Resources: changed}, now)
	if d.Operation == nil || !reflect.DeepEqual(d.Operation.Sync.Revisions, []string{"1", "2"}) || len(d.Operation.Sync.Sources) != 2 {
		t.Errorf("several sources: %+v", d)
	}
}

func TestBack(t *testing.T) {
	succeeded, failed := v1alpha1.OperationSucceeded, v1alpha1.OperationFailed
	giveUp := func(a *v1alpha1.Application) { a.Spec.SyncPolicy.Automated.OnFailure = autosync.OnFailureRollback }
	entry := func(id int64, revision string, health v1alpha1.HealthStatusCode) v1alpha1.RevisionHistory {
		return v1alpha1.RevisionHistory{ID: id, Revision: revision, Source: v1alpha1.ApplicationSource{RepoURL: "r", Path: "p"}, Health: health}
	}
	past := func(a *v1alpha1.Application) {
		a.Status.History = []v1alpha1.RevisionHistory{entry(3, "good", v1alpha1.HealthHealthy), entry(4, "never", "")}
	}
	is := func(code v1alpha1.HealthStatusCode, since time.Duration) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			at := metav1.NewTime(now.Add(-since))
			a.Status.Health = v1alpha1.AppHealthStatus{Status: code, LastTransitionTime: &at}
		}
	}
	ended := func(ago time.Duration) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) {
			at := metav1.NewTime(now.Add(-ago))
			a.Status.OperationState.FinishedAt = &at
		}
	}
	healthy := func(a *v1alpha1.Application) {
		a.Status.History = append(a.Status.History, entry(5, "new", v1alpha1.HealthHealthy))
	}
	timeout := func(text string) func(*v1alpha1.Application) {
		return func(a *v1alpha1.Application) { a.Spec.SyncPolicy.Automated.HealthTimeout = text }
	}
	degraded := is(v1alpha1.HealthDegraded, time.Minute)
	for name, c := range map[string]struct {
		app     *v1alpha1.Application
		starts  bool
		wait    time.Duration
		refused string
	}{
		"the target failed":                        {app(failed, "new", giveUp, past, wrote), true, 0, ""},
		"the target failed before the first write": {app(failed, "new", giveUp, past), false, 0, ""},
		"somebody ended it": {app(failed, "new", giveUp, past, wrote, func(a *v1alpha1.Application) {
			a.Status.OperationState.Message = "Operation terminated"
		}), false, 0, ""},
		"not asked for":                               {app(failed, "new", past, wrote), false, 0, ""},
		"something else failed":                       {app(failed, "older", giveUp, past, wrote), false, 0, ""},
		"already held":                                {app(failed, "new", giveUp, past, wrote, holds("good")), false, 0, ""},
		"switched off":                                {app(failed, "new", giveUp, past, wrote, func(a *v1alpha1.Application) { off := false; a.Spec.SyncPolicy.Automated.Enabled = &off }), false, 0, ""},
		"nothing to go back to":                       {app(failed, "new", giveUp, wrote), false, 0, "no earlier deployment that was Healthy"},
		"degraded, with time left":                    {app(succeeded, "new", giveUp, past, degraded, ended(time.Minute)), false, 4 * time.Minute, ""},
		"degraded when its time is up":                {app(succeeded, "new", giveUp, past, degraded, ended(6*time.Minute)), true, 0, ""},
		"progressing when its time is up":             {app(succeeded, "new", giveUp, past, is(v1alpha1.HealthProgressing, time.Minute), ended(6*time.Minute)), true, 0, ""},
		"a commit that changes nothing of it comes":   {app(succeeded, "older", giveUp, past, degraded, ended(6*time.Minute), func(a *v1alpha1.Application) { a.Status.OperationState.Digest = "d-new" }), true, 0, ""},
		"its own time is up":                          {app(succeeded, "new", giveUp, past, degraded, ended(2*time.Minute), timeout("90s")), true, 0, ""},
		"healthy when its time is up":                 {app(succeeded, "new", giveUp, past, healthy, is(v1alpha1.HealthHealthy, time.Minute), ended(6*time.Minute)), false, 0, ""},
		"healthy once, degraded when its time was up": {app(succeeded, "new", giveUp, past, healthy, is(v1alpha1.HealthDegraded, 2*time.Minute), ended(6*time.Minute)), true, 0, ""},
		"healthy then, degraded long after":           {app(succeeded, "new", giveUp, past, healthy, degraded, ended(time.Hour)), false, 0, ""},
		"suspended":                                   {app(succeeded, "new", giveUp, past, is(v1alpha1.HealthSuspended, time.Minute), ended(6*time.Minute)), false, 0, ""},
		"a health from before the sync": {app(succeeded, "new", giveUp, past, degraded, ended(6*time.Minute), func(a *v1alpha1.Application) {
			a.Status.Sync.AfterOperation = "before"
		}), false, 0, ""},
		"an unknown policy":  {app(failed, "new", wrote, func(a *v1alpha1.Application) { a.Spec.SyncPolicy.Automated.OnFailure = "Panic" }), false, 0, `onFailure is "Panic"`},
		"an unknown timeout": {app(failed, "new", giveUp, wrote, timeout("soon")), false, 0, `healthTimeout is "soon"`},
	} {
		turn := autosync.Back(c.app, target, now)
		if (turn.Operation != nil) != c.starts || turn.Wait != c.wait || !strings.Contains(turn.Refused, c.refused) || (turn.Refused == "") != (c.refused == "") {
			t.Errorf("%s: %+v", name, turn.Decision)
		}
		if (turn.Hold != nil) != c.starts {
			t.Errorf("%s: hold %+v", name, turn.Hold)
		}
		if o := turn.Operation; o != nil && (o.Sync.Revision != "good" || o.Sync.SyncStrategy.Apply == nil || !o.InitiatedBy.Automated || o.Info[0].Value != "3" ||
			turn.Hold.Reason != v1alpha1.HoldAutomaticRollback || turn.Hold.Rejected[0] != "new") {
			t.Errorf("%s: operation %+v, hold %+v", name, o, turn.Hold)
		}
	}
}

func TestProven(t *testing.T) {
	ready := func(a *v1alpha1.Application) {
		a.Status.Health.Status = v1alpha1.HealthHealthy
		a.Status.History = []v1alpha1.RevisionHistory{{Revision: "new", Source: *a.Spec.Source}}
	}
	for name, c := range map[string]struct {
		app  *v1alpha1.Application
		want bool
	}{
		"healthy":                   {app(v1alpha1.OperationSucceeded, "new", ready), true},
		"noted already":             {app(v1alpha1.OperationSucceeded, "new", ready, func(a *v1alpha1.Application) { a.Status.History[0].Health = v1alpha1.HealthHealthy }), false},
		"not healthy":               {app(v1alpha1.OperationSucceeded, "new", ready, func(a *v1alpha1.Application) { a.Status.Health.Status = v1alpha1.HealthDegraded }), false},
		"another one since":         {app(v1alpha1.OperationSucceeded, "newer", ready), false},
		"a failed one since":        {app(v1alpha1.OperationFailed, "new", ready), false},
		"not compared since":        {app(v1alpha1.OperationSucceeded, "new", ready, func(a *v1alpha1.Application) { a.Status.OperationState.ID = "op" }), false},
		"nothing was ever deployed": {app("", ""), false},
	} {
		if got := autosync.Proven(c.app); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
