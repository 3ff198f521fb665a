// Package teardown decides in which order the Applications of an
// ApplicationSet go away when the set itself is deleted with deletionOrder
// Reverse: the last step first, and within a step as many at a time as the
// step allows. It is pure.
//
// The decision is made anew from what lives, so a restart loses nothing. An
// Application is known by its uid: one that was made anew under an old name is
// not the old one. Rules: spec/progressive-sync.md §6.16.
package teardown

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// StuckAfter is how long an Application may take to go before people are told.
const StuckAfter = 2 * time.Minute

// unlimited is the limit of a step without maxUpdate, and of the Applications
// that belong to no step.
const unlimited = 50

// Reverse is the order that this package carries out; case does not matter.
const Reverse = "Reverse"

// Ordered says that the Applications of the set are to be deleted in order:
// a rolling strategy with steps that the controller honours, and Reverse.
func Ordered(set *v1alpha1.ApplicationSet, gate bool) bool {
	s := set.Spec.Strategy
	return gate && s != nil && s.Type == rollout.TypeRollingSync && s.RollingSync != nil && len(s.RollingSync.Steps) > 0 &&
		strings.EqualFold(s.DeletionOrder, Reverse)
}

// Input is everything Next decides on.
type Input struct {
	Set *v1alpha1.ApplicationSet
	// Applications are the live ones that the set owns by its uid.
	Applications []*v1alpha1.Application
	// Seen is since when the caller has seen an Application being deleted, by
	// uid and by the caller's own clock.
	Seen map[types.UID]time.Time
	Now  time.Time
}

// Decision is the answer of Next.
type Decision struct {
	// Done says that no Application is left.
	Done bool
	// Step is what goes away now, 1-based; 0 are those that belong to no step.
	Step int
	// Delete lists the Applications to delete now, by name.
	Delete []*v1alpha1.Application
	// Stuck lists those that take too long; they hold the steps before theirs
	// and nobody of their own.
	Stuck []*v1alpha1.Application
	// Wake is when one that is going will be stuck; zero is never.
	Wake time.Duration
}

// Next decides what goes away now. Applications that match no step, or were
// taken out of the rollout, come last.
func Next(in Input) Decision {
	groups := map[int][]*v1alpha1.Application{}
	step := 0
	for _, app := range in.Applications {
		s := stepOf(in.Set, app)
		groups[s] = append(groups[s], app)
		step = max(step, s)
	}
	members := groups[step]
	out := Decision{Step: step, Done: len(in.Applications) == 0}
	slices.SortFunc(members, func(a, b *v1alpha1.Application) int { return cmp.Compare(a.Name, b.Name) })
	free := limit(in.Set, step, len(members))
	for _, app := range members {
		if app.DeletionTimestamp == nil {
			continue
		}
		since, seen := in.Seen[app.UID]
		if !seen {
			since = in.Now
		}
		if rest := StuckAfter - max(0, in.Now.Sub(since)); rest > 0 {
			free--
			if out.Wake == 0 || rest < out.Wake {
				out.Wake = rest
			}
			continue
		}
		out.Stuck = append(out.Stuck, app)
	}
	for _, app := range members {
		if app.DeletionTimestamp == nil && free > 0 {
			out.Delete = append(out.Delete, app)
			free--
		}
	}
	return out
}

// stepOf goes by the labels of the live Application, which are the rendered
// ones: generators are not asked any more.
func stepOf(set *v1alpha1.ApplicationSet, app *v1alpha1.Application) int {
	if app.Annotations[v1alpha1.AnnotationRolloutSkip] == "true" {
		return 0
	}
	return rollout.StepOf(set.Spec.Strategy.RollingSync.Steps, app.Labels)
}

// limit is how many of a step may go at a time. A percentage is one of all
// that the step had, as far as the last rollout has counted them. A step that
// only people sync, or whose limit cannot be read, goes one by one.
func limit(set *v1alpha1.ApplicationSet, step, left int) int {
	if step == 0 {
		return unlimited
	}
	maxUpdate := set.Spec.Strategy.RollingSync.Steps[step-1].MaxUpdate
	if maxUpdate == nil {
		return unlimited
	}
	total := left
	if r := set.Status.Rollout; r != nil {
		for _, s := range r.Steps {
			if int(s.Index) == step {
				total = max(total, int(s.Total))
			}
		}
	}
	n, err := rollout.Limit(maxUpdate, total)
	if err != nil {
		return 1
	}
	return max(1, n)
}
