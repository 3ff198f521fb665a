package syncplan

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// HookFinalizer keeps a finished hook until its result has been read.
const HookFinalizer = "argocd.argoproj.io/hook-finalizer"

// AnnotationOperation marks a hook with the operation and attempt that
// created it, so that a restarted process recognises its own hook.
const AnnotationOperation = "argocd.argoproj.io/sync-operation"

// Verb is what an Act does to its object.
type Verb string

// The verbs of an Act.
const (
	// Apply makes the live object equal to the target.
	Apply Verb = "apply"
	// CreateHook creates the hook object; it is never applied over another.
	CreateHook Verb = "create hook"
	// Prune deletes an object that is no longer wanted.
	Prune Verb = "prune"
	// DeleteHook deletes a hook object.
	DeleteHook Verb = "delete hook"
	// ReleaseHook removes the finalizer that kept a finished hook.
	ReleaseHook Verb = "release hook"
)

// Act is one write to the cluster.
type Act struct {
	Verb Verb
	Task Task
}

// State is what Next decides on.
type State struct {
	Tasks   []Task
	Results map[TaskID]Result
	// Health of a live object; known is false for kinds without a rule.
	Health func(object.Key) (status health.Status, known bool)
	// Marker names this attempt of this operation; see Mark.
	Marker string
}

// Mark is the value of AnnotationOperation on a hook: an object that is a hook
// of several phases is another one in each.
func Mark(marker string, phase Phase) string { return marker + "/" + string(phase) }

// Move is the answer of Next. Acts in one group run concurrently, groups run
// one after the other. Without groups the operation waits (Phase Running) or
// has ended.
type Move struct {
	Groups [][]Act
	// Results are to be merged into the stored ones, before the acts.
	Results map[TaskID]Result
	Phase   v1alpha1.OperationPhase
	Message string
}

// Removes says that acts of the move take away objects that tell what has
// been done, so that Results have to be stored first.
func (m Move) Removes() bool {
	for _, group := range m.Groups {
		for _, act := range group {
			if act.Verb == DeleteHook || act.Verb == ReleaseHook || act.Verb == Prune && act.Task.PruneRefused == "" {
				return true
			}
		}
	}
	return false
}

// Next says what to do now.
func Next(s State) Move {
	p := newProgress(s)
	p.refresh()
	switch {
	case len(p.releases) > 0:
		return p.act([][]Act{p.releases}, "removing finalizers of completed hooks")
	case p.cutOff():
		return p.wave()
	case len(p.runningHooks) > 0 && !p.failedHooksOnly():
		return p.wait("completion of hook", p.runningHooks)
	case len(p.failed) > 0:
		return p.fail()
	case len(p.pending) == 0 && len(p.running) > 0 && p.endsWithHooks():
		return p.wait("healthy state of", p.running)
	case len(p.pending) == 0:
		return p.succeed()
	case len(p.running) > 0:
		return p.wait("healthy state of", p.running)
	case len(p.terminating) > 0 && !p.prunedNow():
		m := p.wait("deletion of", p.terminating)
		m.Message += heldBy(p.terminating[0].Live)
		return m
	}
	return p.wave()
}

// cutOff says that the wave of the first pending task has been begun: whoever
// was at it did not get to its end, which comes before all judgement.
func (p *progress) cutOff() bool {
	if len(p.pending) == 0 || p.pending[0].Prune() {
		return false
	}
	first := p.pending[0]
	return slices.ContainsFunc(p.Tasks, func(t Task) bool {
		return !t.Prune() && !t.Created && t.Phase == first.Phase && t.Wave == first.Wave && p.result(t).Phase != ""
	})
}

// prunedNow says that the wave of the first pending task is the one that was
// pruned: its other objects are written at once, the next wave waits until
// what was pruned is gone (spec/sync.md §6.1).
func (p *progress) prunedNow() bool {
	first := p.pending[0]
	return slices.ContainsFunc(p.terminating, func(t Task) bool { return t.Phase == first.Phase && t.Wave == first.Wave })
}

// endsWithHooks says that the operation has several steps and that the last
// has hooks: then its other objects have to become healthy too
// (spec/sync.md §6, steps 2 and 8).
func (p *progress) endsWithHooks() bool {
	return p.hooksLast() && slices.ContainsFunc(p.Tasks, func(t Task) bool { return t.Phase != p.Tasks[0].Phase || t.Wave != p.Tasks[0].Wave })
}

// hooksLast says that the last wave has hooks.
func (p *progress) hooksLast() bool {
	var last *Task
	for i := range p.Tasks {
		if p.Tasks[i].Phase != SyncFail {
			last = &p.Tasks[i]
		}
	}
	return last != nil && slices.ContainsFunc(p.Tasks, func(t Task) bool {
		return t.Hook && t.Phase == last.Phase && t.Wave == last.Wave
	})
}

// progress sorts the tasks by what is known about them.
type progress struct {
	State
	updates map[TaskID]Result

	pending, running, runningHooks, failed, terminating []Task
	releases                                            []Act
}

func newProgress(s State) *progress {
	return &progress{State: s, updates: map[TaskID]Result{}}
}

// refresh brings every task up to what its object says. When all waves have
// been started and no hook is awaited, the health of plain objects is nobody's
// business here any more: the sync is done and the Application's health tells
// the rest (spec/sync.md §6, step 8).
func (p *progress) refresh() {
	awaited := p.awaited() || p.endsWithHooks()
	for _, t := range p.Tasks {
		r, known := p.known(t)
		if !known && p.ours(t) {
			r, known = Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationRunning, Version: t.Target.GetAPIVersion()}, true
			p.updates[t.ID()] = r
		}
		if !known {
			if t.Phase != SyncFail {
				p.pending = append(p.pending, t)
			}
			continue
		}
		if r.Phase == v1alpha1.OperationRunning && (awaited || t.Hook) {
			r = p.judge(t, r)
		}
		p.file(t, r)
	}
	p.tell()
}

// awaited says that a task is still to be started or a hook to be waited for.
func (p *progress) awaited() bool {
	return slices.ContainsFunc(p.Tasks, func(t Task) bool {
		r, known := p.known(t)
		if !known {
			return t.Phase != SyncFail || p.ours(t)
		}
		return t.Hook && !r.completed()
	})
}

// ours says that the live hook was created by this attempt.
func (p *progress) ours(t Task) bool {
	return t.Hook && t.Live != nil && t.Live.GetAnnotations()[AnnotationOperation] == Mark(p.Marker, t.Phase)
}

func (p *progress) file(t Task, r Result) {
	switch {
	case r.failed():
		p.failed = append(p.failed, t)
	case !r.completed() && t.Hook:
		p.runningHooks = append(p.runningHooks, t)
	case !r.completed():
		p.running = append(p.running, t)
	case r.Status == v1alpha1.ResultPruned && t.Live != nil:
		p.terminating = append(p.terminating, t)
	}
	if t.Hook && r.completed() && p.ours(t) && slices.Contains(t.Live.GetFinalizers(), HookFinalizer) {
		p.releases = append(p.releases, Act{ReleaseHook, t})
	}
}

// judge turns a running task into a completed one when its object says so.
func (p *progress) judge(t Task, r Result) Result {
	before := r
	status, known := p.Health(t.Key)
	switch {
	case t.Prune():
		r.Phase = v1alpha1.OperationSucceeded
	case t.Live == nil:
		r.Status, r.Phase = v1alpha1.ResultSyncFailed, v1alpha1.OperationError
		r.Message = fmt.Sprintf("Resource %s is missing, it might have been deleted", t.Key)
	case !known:
		r.Phase = v1alpha1.OperationSucceeded
		if t.Hook {
			r.Message = t.Key.Name + " created"
		}
	case status.Code == health.Healthy || (t.Hook && status.Code == health.Missing):
		r.Phase = v1alpha1.OperationSucceeded
		r.Message = firstText(status.Message, r.Message)
	case status.Code == health.Degraded || (t.Hook && status.Code == health.Unknown):
		r.Phase = v1alpha1.OperationFailed
		r.Message = status.Message
	case status.Message != "":
		r.Message = status.Message
	}
	if r.Phase != before.Phase || r.Message != before.Message {
		p.updates[t.ID()] = r
	}
	return r
}

func (p *progress) act(groups [][]Act, message string) Move {
	return Move{Groups: groups, Results: p.updates, Phase: v1alpha1.OperationRunning, Message: message}
}

func (p *progress) wait(reason string, tasks []Task) Move {
	return Move{Results: p.updates, Phase: v1alpha1.OperationRunning, Message: waitingFor(reason, tasks)}
}

// wave starts the first phase and wave that still has tasks to do.
func (p *progress) wave() Move {
	first := p.pending[0]
	var prunes, applies []Task
	var stale []Act
	for _, t := range p.pending {
		if t.Phase != first.Phase || t.Wave != first.Wave {
			continue
		}
		switch {
		case t.Prune():
			prunes = append(prunes, t)
		case t.Hook && t.Live != nil && t.has(BeforeHookCreation):
			stale = append(stale, Act{DeleteHook, t})
		default:
			applies = append(applies, t)
		}
	}
	message := fmt.Sprintf("applying phase %s wave %d", first.Phase, first.Wave)
	if waiting := unconfirmed(prunes); len(waiting) > 0 {
		return p.wait("pruning confirmation of", waiting)
	}
	if len(prunes) > 0 {
		for _, t := range prunes {
			if t.PruneRefused == "" {
				p.updates[t.ID()] = toBePruned(t)
			}
		}
		return p.act([][]Act{acts(Prune, prunes)}, message)
	}
	if len(stale) > 0 {
		return p.removeStale(stale)
	}
	return p.act(byKind(applies), message)
}

func unconfirmed(prunes []Task) []Task {
	return slices.DeleteFunc(slices.Clone(prunes), func(t Task) bool { return !t.Unconfirmed })
}

// removeStale deletes hooks of earlier operations, or waits until they are gone.
func (p *progress) removeStale(stale []Act) Move {
	var todo []Act
	var gone []Task
	for _, a := range stale {
		gone = append(gone, a.Task)
		live := a.Task.Live
		if live.GetDeletionTimestamp() == nil || slices.Contains(live.GetFinalizers(), HookFinalizer) {
			todo = append(todo, a)
		}
	}
	if len(todo) == 0 {
		return p.wait("deletion of hook", gone)
	}
	return p.act([][]Act{todo}, waitingFor("deletion of hook", gone))
}

func acts(verb Verb, tasks []Task) []Act {
	out := make([]Act, len(tasks))
	for i, t := range tasks {
		out[i] = Act{verb, t}
	}
	return out
}

// byKind groups consecutive tasks of one kind; groups run one after the other.
func byKind(tasks []Task) [][]Act {
	var groups [][]Act
	last := ""
	for _, t := range tasks {
		verb := Apply
		if t.Hook && t.Live == nil {
			verb = CreateHook
		}
		if kind := t.Key.Group + "/" + t.Key.Kind; len(groups) == 0 || kind != last {
			groups, last = append(groups, nil), kind
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], Act{verb, t})
	}
	return groups
}

// succeed ends the operation, after removing hooks that asked for it.
func (p *progress) succeed() Move {
	if doomed := p.doomed(HookSucceeded); len(doomed) > 0 {
		return p.act([][]Act{doomed}, "deleting hooks with policy HookSucceeded")
	}
	text := "successfully synced (all tasks run)"
	if len(p.Tasks) == 0 || p.hooksLast() { // nothing was left when the last hooks had ended
		text = "successfully synced (no more tasks)"
	}
	return Move{Results: p.updates, Phase: v1alpha1.OperationSucceeded, Message: text}
}

// fail runs the SyncFail hooks and then ends the operation.
func (p *progress) fail() Move {
	var todo, running, broken []Task
	for _, t := range p.Tasks {
		if t.Phase != SyncFail {
			continue
		}
		r, known := p.updates[t.ID()]
		if !known {
			r, known = p.Results[t.ID()]
		}
		switch {
		case !known:
			todo = append(todo, t)
		case r.failed():
			broken = append(broken, t)
		case !r.completed():
			running = append(running, t)
		}
	}
	var stale []Act
	var fresh []Task
	for _, t := range todo {
		if t.Live != nil && t.has(BeforeHookCreation) {
			stale = append(stale, Act{DeleteHook, t})
			continue
		}
		fresh = append(fresh, t)
	}
	switch {
	case len(stale) > 0:
		return p.removeStale(stale)
	case len(fresh) > 0:
		return p.act(byKind(fresh), "running SyncFail hooks")
	case len(running) > 0:
		return p.wait("completion of hook", running)
	}
	if doomed := p.doomed(HookFailed); len(doomed) > 0 {
		return p.act([][]Act{doomed}, "deleting hooks with policy HookFailed")
	}
	return Move{Results: p.updates, Phase: v1alpha1.OperationFailed, Message: p.failure(broken)}
}

// failedHooksOnly says that the operation failed already and that only hooks
// of phase SyncFail are running, which fail looks after.
func (p *progress) failedHooksOnly() bool {
	if len(p.failed) == 0 {
		return false
	}
	return !slices.ContainsFunc(p.runningHooks, func(t Task) bool { return t.Phase != SyncFail })
}

func (p *progress) failure(broken []Task) string {
	applyFailed := false
	var reasons []string
	for _, t := range p.failed {
		if t.Phase == SyncFail {
			continue
		}
		r := p.result(t)
		applyFailed = applyFailed || r.Status == v1alpha1.ResultSyncFailed && r.Phase == v1alpha1.OperationFailed
		if r.Message != "" && !slices.Contains(reasons, r.Message) {
			reasons = append(reasons, r.Message)
		}
	}
	text := "one or more synchronization tasks completed unsuccessfully"
	if applyFailed {
		text = "one or more objects failed to apply"
	}
	if len(reasons) > 0 {
		text += ", reason: " + strings.Join(reasons, ",")
	}
	if len(broken) > 0 {
		text += fmt.Sprintf("\none or more SyncFail hooks failed, reason: %s", p.result(broken[0]).Message)
	}
	return text
}

func (p *progress) result(t Task) Result {
	if r, ok := p.updates[t.ID()]; ok {
		return r
	}
	return p.Results[t.ID()]
}

// doomed lists the live hooks of this attempt that carry the delete policy.
func (p *progress) doomed(policy DeletePolicy) []Act {
	var out []Act
	for _, t := range p.Tasks {
		if t.Hook && t.has(policy) && p.ours(t) && t.Live.GetDeletionTimestamp() == nil && p.result(t).completed() {
			out = append(out, Act{DeleteHook, t})
		}
	}
	return out
}

// Terminate ends an operation on request: running hooks are deleted, what has
// been applied stays.
func Terminate(s State) Move {
	p := newProgress(s)
	p.refresh()
	var doomed []Act
	for _, t := range p.runningHooks {
		p.updates[t.ID()] = Result{Status: v1alpha1.ResultSynced, Phase: v1alpha1.OperationFailed, Message: "Terminated"}
		switch {
		case !p.ours(t):
		case t.Live.GetDeletionTimestamp() == nil:
			doomed = append(doomed, Act{DeleteHook, t})
		case slices.Contains(t.Live.GetFinalizers(), HookFinalizer): // nobody will read its result any more
			doomed = append(doomed, Act{ReleaseHook, t})
		}
	}
	move := Move{Results: p.updates, Phase: v1alpha1.OperationFailed, Message: "Operation terminated"}
	if acts := append(p.releases, doomed...); len(acts) > 0 {
		move.Groups = [][]Act{acts}
	}
	return move
}

// Images lists the container images of an object that carries pods, in order.
func Images(obj *unstructured.Unstructured) []string {
	var out []string
	for _, path := range [][]string{
		{"spec", "template", "spec", "containers"},
		{"spec", "jobTemplate", "spec", "template", "spec", "containers"},
		{"spec", "containers"},
	} {
		containers, ok, err := unstructured.NestedSlice(obj.Object, path...)
		if !ok || err != nil {
			continue
		}
		for _, c := range containers {
			if m, isMap := c.(map[string]any); isMap {
				if image, isText := m["image"].(string); isText && image != "" {
					out = append(out, image)
				}
			}
		}
		break
	}
	return out
}
