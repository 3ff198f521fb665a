package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// The causes below are looked for in this order: what stops everything first,
// then what stops a sync, then what is wrong on the cluster. Verb is a format
// that makes a command of a verb of this group.

func deletion(f *facts, verb string, now time.Time) []Finding {
	app := f.app
	if app.DeletionTimestamp == nil {
		return nil
	}
	out := Finding{Cause: fmt.Sprintf("it is being deleted since %s, and waits for %s", output.Ago(now, app.DeletionTimestamp.Time), list(app.Finalizers))}
	for i := range app.Status.Resources {
		if r := &app.Status.Resources[i]; r.RequiresDeletionConfirmation {
			out.Proof = append(out.Proof, fmt.Sprintf("%s/%s asks for confirmation before it is deleted", r.Kind, r.Name))
		}
	}
	if len(out.Proof) > 0 {
		out.Next = []string{fmt.Sprintf(verb, "confirm-deletion")}
	}
	return []Finding{out}
}

// advice is what to do about a condition.
var advice = map[string]string{
	v1alpha1.ConditionInvalidSpecError:  "correct the spec: repository, path, destination and project must fit together",
	v1alpha1.ConditionComparisonError:   "correct what the message names in Git or in the repository's credentials, then: ",
	v1alpha1.ConditionDeletionError:     "see whether the target cluster is reached: cluster list",
	v1alpha1.ConditionSyncError:         "correct what the message names; an automated sync of the same revision is not tried again by itself",
	v1alpha1.ConditionRolloutHolderGone: "its ApplicationSet is gone: remove annotation argocd.argoproj.io/rollout-held-by to let it sync by itself",
}

func conditions(f *facts, verb string, _ time.Time) []Finding {
	var out []Finding
	for _, c := range f.app.Status.Conditions {
		if !strings.HasSuffix(c.Type, "Error") && c.Type != v1alpha1.ConditionRolloutHolderGone {
			continue
		}
		if op := f.app.Status.OperationState; c.Type == v1alpha1.ConditionSyncError && op != nil && op.Phase.Completed() && op.Phase != v1alpha1.OperationSucceeded {
			continue // the operation itself says more
		}
		one := Finding{Cause: c.Type + ": " + c.Message}
		next := advice[c.Type]
		if c.Type == v1alpha1.ConditionComparisonError {
			next += fmt.Sprintf(verb, "get") + " --hard-refresh"
		}
		if next != "" {
			one.Next = []string{next}
		}
		out = append(out, one)
	}
	return out
}

func operation(f *facts, verb string, now time.Time) []Finding {
	op := f.app.Status.OperationState
	switch {
	case op == nil && f.app.Operation != nil:
		return []Finding{{Cause: "a sync is asked for, and the controller has not begun it"}}
	case op == nil:
		return nil
	case !op.Phase.Completed():
		one := Finding{Cause: fmt.Sprintf("a sync runs for %s: %s", now.Sub(op.StartedAt.Time).Round(time.Second), cmp.Or(op.Message, "in progress"))}
		one.Proof = results(op, func(r *v1alpha1.ResourceResult) bool {
			return r.HookPhase == v1alpha1.OperationRunning || r.Status == ""
		})
		one.Next = []string{fmt.Sprintf(verb, "wait") + " --operation", fmt.Sprintf(verb, "terminate-op")}
		if strings.Contains(op.Message, "confirmation") {
			one.Next = append([]string{fmt.Sprintf(verb, "confirm-deletion")}, one.Next...)
		}
		return []Finding{one}
	case op.Phase == v1alpha1.OperationSucceeded:
		return nil
	}
	one := Finding{Cause: fmt.Sprintf("the last sync ended %s: %s", op.Phase, op.Message)}
	one.Proof = results(op, func(r *v1alpha1.ResourceResult) bool {
		return r.Status == v1alpha1.ResultSyncFailed || r.HookPhase == v1alpha1.OperationFailed || r.HookPhase == v1alpha1.OperationError
	})
	one.Next = []string{fmt.Sprintf(verb, "sync"), fmt.Sprintf(verb, "get") + " --show-operation"}
	return []Finding{one}
}

func results(op *v1alpha1.OperationState, pick func(*v1alpha1.ResourceResult) bool) []string {
	if op.SyncResult == nil {
		return nil
	}
	var out []string
	for _, r := range op.SyncResult.Resources {
		if r != nil && pick(r) && len(out) < most {
			hook := ""
			if r.HookType != "" {
				hook = r.HookType + " hook "
			}
			out = append(out, fmt.Sprintf("%s%s %s: %s", hook, r.Kind, r.Name, cmp.Or(r.Message, string(r.HookPhase), string(r.Status), "in progress")))
		}
	}
	return out
}

// held names who keeps the Application where it is.
func held(f *facts, verb string, _ time.Time) []Finding {
	var out []Finding
	if h := f.app.Status.Hold; h != nil {
		out = append(out, Finding{
			Cause: "automated syncs are held back: it stays " + heldLine(h),
			Next: []string{
				fmt.Sprintf(verb, "diff") + "   (what the target would change)", fmt.Sprintf(verb, "resume") + "   (automated sync brings the target again)",
				fmt.Sprintf(verb, "sync") + "   (to the target, which ends the hold)",
			},
		})
	}
	if set := f.app.Annotations[v1alpha1.AnnotationRolloutHeldBy]; set != "" && f.app.Status.Sync.Status != v1alpha1.SyncStatusSynced {
		program, _, _ := strings.Cut(verb, " ")
		_, name, ok := strings.Cut(set, "/")
		if !ok {
			name = set
		}
		out = append(out, Finding{
			Cause: "the rollout of ApplicationSet " + set + " decides when it syncs, and its turn has not come or its sync did not help",
			Next:  []string{program + " appset rollout status " + name},
		})
	}
	return out
}

func windows(f *facts, verb string, _ time.Time) []Finding {
	w := f.windows
	if w == nil || f.app.Status.Sync.Status == v1alpha1.SyncStatusSynced {
		return nil
	}
	switch windowLine(w) {
	case "Sync Denied":
		return []Finding{{Cause: "a sync window forbids every sync now", Proof: []string{windowList(w)}, Next: []string{"wait for the window to end, or change it: proj windows list " + f.app.Spec.Project}}}
	case "Manual Allowed":
		return []Finding{{Cause: "a sync window forbids automated syncs now", Proof: []string{windowList(w)}, Next: []string{fmt.Sprintf(verb, "sync")}}}
	}
	return nil
}

func manualPolicy(f *facts, verb string, _ time.Time) []Finding {
	if f.app.Status.Sync.Status != v1alpha1.SyncStatusOutOfSync || automated(f.app) != nil || f.app.Annotations[v1alpha1.AnnotationRolloutHeldBy] != "" {
		return nil
	}
	return []Finding{{Cause: "it does not sync by itself: its sync policy is manual", Next: []string{fmt.Sprintf(verb, "diff"), fmt.Sprintf(verb, "sync")}}}
}

func outOfSync(f *facts, verb string, _ time.Time) []Finding {
	if f.app.Status.Sync.Status != v1alpha1.SyncStatusOutOfSync {
		return nil
	}
	var differ, prune []string
	for i := range f.app.Status.Resources {
		r := &f.app.Status.Resources[i]
		switch {
		case r.RequiresPruning:
			prune = append(prune, r.Kind+"/"+r.Name)
		case r.Status == v1alpha1.SyncStatusOutOfSync:
			differ = append(differ, r.Kind+"/"+r.Name)
		}
	}
	var out []Finding
	if len(differ) > 0 {
		one := Finding{Cause: counted(len(differ), "object is", "objects are") + " not as Git says", Proof: []string{list(differ)}, Next: []string{fmt.Sprintf(verb, "diff")}}
		if a := automated(f.app); a != nil && !a.SelfHeal && synced(f.app) {
			one.Cause += "; somebody changed the cluster, and selfHeal is off"
			one.Next = append(one.Next, fmt.Sprintf(verb, "sync"), fmt.Sprintf(verb, "set")+" --self-heal")
		}
		out = append(out, one)
	}
	if len(prune) > 0 {
		one := Finding{Cause: counted(len(prune), "object is", "objects are") + " no longer in Git, and not deleted", Proof: []string{list(prune)}, Next: []string{fmt.Sprintf(verb, "sync") + " --prune"}}
		if a := automated(f.app); a != nil && !a.Prune {
			one.Cause += ": automated syncs of this Application do not prune"
		}
		out = append(out, one)
	}
	return out
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// synced says that the revision that Git names was synced already.
func synced(app *v1alpha1.Application) bool {
	if len(app.Status.History) == 0 {
		return false
	}
	last := app.Status.History[len(app.Status.History)-1]
	if len(app.Status.Sync.Revisions) > 0 {
		return slices.Equal(last.Revisions, app.Status.Sync.Revisions)
	}
	return last.Revision == app.Status.Sync.Revision
}

func healthFindings(f *facts, verb string, now time.Time) []Finding {
	switch f.app.Status.Health.Status {
	case v1alpha1.HealthHealthy, v1alpha1.HealthSuspended:
		return nil
	}
	var out []Finding
	if f.tree != nil {
		for _, n := range unwell(f.tree) {
			status, message := healthOf(n)
			one := Finding{Cause: fmt.Sprintf("%s %s is %s", n.Kind, n.Name, status)}
			if message != "" {
				one.Cause += ": " + message
			}
			if reason := infoOf(n, "Status Reason"); reason != "" {
				one.Proof = append(one.Proof, reason)
			}
			for _, e := range f.events[nodeKey(n)] {
				at := ""
				if e.LastTimestamp != nil {
					at = ", " + output.Ago(now, e.LastTimestamp.Time)
				}
				one.Proof = append(one.Proof, fmt.Sprintf("event %s%s: %s", e.Reason, at, e.Message))
			}
			if n.Kind == "Pod" {
				one.Next = append(one.Next, fmt.Sprintf(verb, "logs")+" --kind Pod --name "+n.Name+" --previous")
			}
			out = append(out, one)
		}
	}
	if len(out) > 0 {
		return out
	}
	for i := range f.app.Status.Resources {
		r := &f.app.Status.Resources[i]
		if r.Health == nil || r.Health.Status == v1alpha1.HealthHealthy || r.Health.Status == v1alpha1.HealthSuspended {
			continue
		}
		cause := fmt.Sprintf("%s %s is %s", r.Kind, r.Name, r.Health.Status)
		if r.Health.Message != "" {
			cause += ": " + r.Health.Message
		}
		if out = append(out, Finding{Cause: cause}); len(out) == most {
			break
		}
	}
	return out
}
