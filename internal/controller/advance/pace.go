package advance

import (
	"slices"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// occasion is why a status is written: who waits for it.
type occasion uint8

const (
	// information is what nobody waits for, such as a count.
	information occasion = iota
	// news is what a person waits to read: an event, a pause, a halt.
	news
	// permission is what an Application waits for: nothing may be done to it
	// before the record that admits it is stored.
	permission
)

// Bounds of status writes (spec/progressive-sync.md §6.14). What weighs on the
// hub are the bytes: the status of 2,000 Applications takes 900 kB at each
// write, that of ten Applications takes less in sixty writes than that in one.
const (
	// collect is how long information is gathered.
	collect = 500 * time.Millisecond
	second  = time.Second
	// writesASecond is the budget of a set.
	writesASecond = 2
	// small sets may spend more at once when Applications wait, so that steps
	// may be as short as they like: as many writes as take a weight of entries,
	// and never more than mostAtOnce.
	small      = 200
	weight     = 4000
	mostAtOnce = 60
)

// burst is how many writes a small set may save up.
func burst(members int) int { return min(mostAtOnce, weight/max(1, members)) }

// pace says when the status of a set may be written. Within n seconds a large
// set is written at most 2n times, a small one 2n times and its burst.
type pace struct {
	// last are the times of the last writes, newest first.
	last [writesASecond]time.Time
	// since is when the change that waits was first seen.
	since time.Time
	// whole is when nothing of the burst will be spent any more.
	whole time.Time
}

// rest is how long a change must wait before it is written; 0 is not at all.
// Permissions and news are written at once as long as the budget lasts;
// information is collected, and leaves one write of each second to them.
func (p *pace) rest(now time.Time, why occasion, members int) time.Duration {
	if p.since.IsZero() || p.since.After(now) {
		p.since = now
	}
	left := time.Duration(0)
	if members <= small {
		left = p.left(now, burst(members))
	}
	switch {
	case why == information:
		return max(until(now, p.since, collect), until(now, p.last[0], second), left)
	case why == news || members > small:
		return max(until(now, p.last[writesASecond-1], second), left)
	}
	return left
}

// each is how long it takes to save up one write.
const each = second / writesASecond

// left is how long it takes until a burst has a write left. A set that shrank
// may have spent more than it could now.
func (p *pace) left(now time.Time, burst int) time.Duration {
	spent, free := p.whole.Sub(now), time.Duration(burst-1)*each
	if spent <= free || spent > mostAtOnce*each { // more cannot be spent: the clock was set back
		return 0
	}
	return min(each, spent-free)
}

// until is how long it takes until something is so old; a clock that was set
// back makes nobody wait.
func until(now, then time.Time, age time.Duration) time.Duration {
	if then.IsZero() || then.After(now) {
		return 0
	}
	return max(0, age-now.Sub(then))
}

// wrote notes a write.
func (p *pace) wrote(now time.Time) {
	copy(p.last[1:], p.last[:])
	p.last[0] = now
	if spent := p.whole.Sub(now); spent < 0 || spent > mostAtOnce*each {
		p.whole = now // nothing is spent, or the clock was set back
	}
	p.whole = p.whole.Add(each)
	p.unchanged()
}

// unchanged notes that nothing waits.
func (p *pace) unchanged() { p.since = time.Time{} }

// weigh says who waits for the change from a stored status to the next one.
func weigh(old, next *v1alpha1.ApplicationSetStatus, d rollout.Decision) occasion {
	a, b := old.Rollout, next.Rollout
	switch {
	case len(d.Refreshes) > 0 || (a == nil) != (b == nil) || a != nil && (a.ID != b.ID || a.CurrentStep != b.CurrentStep) || admits(old, next):
		return permission
	case len(d.Events) > 0 || a != nil && a.Phase != b.Phase:
		return news
	}
	return information
}

// admits says that the next status lets an operation start that the old one
// does not.
func admits(old, next *v1alpha1.ApplicationSetStatus) bool {
	type admission struct {
		application string
		attempt     int32
	}
	admitted := func(a *v1alpha1.ApplicationSetAppStatus) bool {
		return a.Status == rollout.Pending || a.Reason == rollout.ReasonSelfHealing
	}
	known := map[admission]bool{}
	for i := range old.ApplicationStatus {
		if a := &old.ApplicationStatus[i]; admitted(a) {
			known[admission{a.Application, a.Attempt}] = true
		}
	}
	return slices.ContainsFunc(next.ApplicationStatus, func(a v1alpha1.ApplicationSetAppStatus) bool {
		return admitted(&a) && !known[admission{a.Application, a.Attempt}]
	})
}
