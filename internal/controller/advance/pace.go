package advance

import "time"

// Bounds of status writes (spec/progressive-sync.md §6.14): changes that
// nobody waits for are collected, and no second sees more than two writes.
const (
	collect = 500 * time.Millisecond
	second  = time.Second
	// writesASecond is the budget of one set.
	writesASecond = 2
)

// pace says when the status of a set may be written. What somebody waits for,
// such as an admission, is written at once as long as the budget lasts; the
// rest is collected, and leaves one write of each second to that.
type pace struct {
	// last are the times of the last writes, newest first.
	last [writesASecond]time.Time
	// since is when the change that waits was first seen.
	since time.Time
}

// rest is how long a change must wait before it is written; 0 is not at all.
func (p *pace) rest(now time.Time, urgent bool) time.Duration {
	if p.since.IsZero() || p.since.After(now) {
		p.since = now
	}
	if urgent {
		return until(now, p.last[writesASecond-1], second)
	}
	return max(until(now, p.since, collect), until(now, p.last[0], second))
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
	p.unchanged()
}

// unchanged notes that nothing waits.
func (p *pace) unchanged() { p.since = time.Time{} }
