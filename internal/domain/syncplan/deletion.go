package syncplan

import (
	"slices"

	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// DeletionMove is what the hooks of a deletion need next (spec/sync.md §16).
type DeletionMove struct {
	// Create are hooks that do not exist yet, Delete those that failed.
	Create, Delete []Pair
	// Waiting are hooks that have not finished.
	Waiting []Pair
}

// Done says that every hook has finished well.
func (m DeletionMove) Done() bool { return len(m.Create)+len(m.Delete)+len(m.Waiting) == 0 }

// inPhase leaves the hooks of a phase.
func inPhase(phase Phase, hooks []Pair) []Pair {
	return slices.DeleteFunc(slices.Clone(hooks), func(p Pair) bool {
		phases, _ := HookPhases(p.Target)
		return !slices.Contains(phases, phase)
	})
}

// Deletion decides on the hooks of phase PreDelete or PostDelete. They run all
// at once; a failed one is deleted, so that it runs again.
func Deletion(phase Phase, hooks []Pair, assess func(object.Key) (health.Status, bool)) DeletionMove {
	var m DeletionMove
	for _, h := range inPhase(phase, hooks) {
		if h.Live == nil {
			m.Create = append(m.Create, h)
			continue
		}
		status, known := assess(h.Key)
		switch {
		case h.Live.GetDeletionTimestamp() != nil || known && status.Code == health.Progressing:
			m.Waiting = append(m.Waiting, h)
		case known && status.Code == health.Degraded:
			m.Delete = append(m.Delete, h)
		}
	}
	return m
}

// DeletionCleanup lists the hooks of a phase that ask to be removed in the
// end, by how all of them together ended.
func DeletionCleanup(phase Phase, hooks []Pair, assess func(object.Key) (health.Status, bool)) []Pair {
	worst := health.Healthy
	live := slices.DeleteFunc(inPhase(phase, hooks), func(p Pair) bool { return p.Live == nil })
	for _, h := range live {
		if status, known := assess(h.Key); known && health.Worse(status.Code, worst) {
			worst = status.Code
		}
	}
	return slices.DeleteFunc(live, func(p Pair) bool {
		policies := deletePolicies(p.Target)
		return p.Live.GetDeletionTimestamp() != nil ||
			!(worst == health.Degraded && slices.Contains(policies, HookFailed) || worst == health.Healthy && slices.Contains(policies, HookSucceeded))
	})
}

// DeletionPhases says which hooks of a deletion there are.
func DeletionPhases(hooks []Pair) (pre, post bool) {
	return len(inPhase(PreDelete, hooks)) > 0, len(inPhase(PostDelete, hooks)) > 0
}
