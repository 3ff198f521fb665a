package appset

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// defaultDropPercent is the share of a set's Applications that may go in one
// evaluation without a person's word.
const defaultDropPercent = 10

// Drop is what one complete evaluation would delete.
type Drop struct {
	Set *v1alpha1.ApplicationSet
	// Off says that the installation switches the guard off where a set says
	// nothing.
	Off bool
	// Doubts are why the answer that the drop comes from may be a mistake of its
	// source: then it is held back whatever its size.
	Doubts []string
	// Owned is how many Applications the set owns now, Surplus names those that
	// are not generated any more and not being deleted yet, in order.
	Owned   int
	Surplus []string
	// Confirmed are the Applications of a confirmation that is being carried
	// out.
	Confirmed []string
	// Held are messages of condition DeletionGuarded that stand or stood.
	Held []string
	Now  time.Time
}

// Ruling is what becomes of a drop.
type Ruling struct {
	// Delete says that the surplus goes; otherwise it is kept.
	Delete bool
	// Confirmed says that it goes, or has gone, because a person said so: the
	// confirmation is used up.
	Confirmed bool
	// Refused says what is wrong with the confirmation; then it is to be taken
	// away, lest it fit another drop one day.
	Refused string
	// Guarded is the message of condition DeletionGuarded; empty when nothing
	// is held back. Since is when this very surplus was first held back, New
	// says that it is now.
	Guarded string
	Since   time.Time
	New     bool
}

// Rule decides on a drop. A drop is held back when it exceeds the guard of the
// set: more than max(1, maxPercent of the owned, rounded down), or more than
// maxCount, or any when there are doubts. A set that preserves resources never loses an Application without
// a person's word. The word is the number of the surplus, in an annotation.
func Rule(d Drop) Ruling {
	word, given := d.Set.Annotations[v1alpha1.AnnotationConfirmDeletion]
	n := len(d.Surplus)
	switch {
	case given && n > 0 && (word == strconv.Itoa(n) || within(d.Surplus, d.Confirmed)):
		return Ruling{Delete: true, Confirmed: true}
	case given && n == 0 && len(d.Confirmed) > 0:
		return Ruling{Confirmed: true} // carried out
	}
	out := Ruling{Delete: n > 0}
	remedy := "nothing waits for a confirmation"
	if n > 0 && exceeds(d) {
		out = Ruling{Since: d.Now, New: true}
		if since, same := heldSince(d); same {
			out.Since, out.New = since, false
		}
		out.Guarded = guardMessage(d, out.Since)
		remedy = fmt.Sprintf("confirm with %d", n)
	}
	if given {
		out.Refused = refusal(word, n, remedy)
	}
	return out
}

func refusal(word string, n int, remedy string) string {
	if len(word) > 20 {
		word = word[:20] + "..."
	}
	return fmt.Sprintf("annotation %s=%q does not name the %d Applications that are no longer generated: %s", v1alpha1.AnnotationConfirmDeletion, word, n, remedy)
}

func within(part, whole []string) bool {
	return len(part) > 0 && !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

func exceeds(d Drop) bool {
	p := d.Set.Spec.SyncPolicy
	if p != nil && p.PreserveResourcesOnDeletion {
		return true
	}
	percent := defaultDropPercent
	switch {
	case p == nil || p.DeletionGuard == nil:
		if d.Off {
			return false
		}
	case p.DeletionGuard.Disabled:
		return false
	default:
		if c := p.DeletionGuard.MaxCount; c != nil && len(d.Surplus) > int(*c) {
			return true
		}
		if given := p.DeletionGuard.MaxPercent; given != nil {
			percent = int(*given)
		}
	}
	return len(d.Doubts) > 0 || len(d.Surplus) > max(1, d.Owned*percent/100)
}

// maxNamed bounds the names in a condition.
const maxNamed = 10

func guardMessage(d Drop, since time.Time) string {
	names := strings.Join(d.Surplus[:min(maxNamed, len(d.Surplus))], ", ")
	if more := len(d.Surplus) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	message := fmt.Sprintf("%d of %d Applications are no longer generated and are kept%s%s: %s: correct the generators, or confirm with annotation %s=%d",
		len(d.Surplus), d.Owned, sinceMark, since.UTC().Format(time.RFC3339), names, v1alpha1.AnnotationConfirmDeletion, len(d.Surplus))
	if len(d.Doubts) > 0 {
		message += "; " + strings.Join(d.Doubts, "; ")
	}
	return message
}

const sinceMark = " since "

// heldSince reads from an earlier message since when this surplus is held, so
// that a restart neither forgets the time nor tells people twice. How many the
// set owned then does not matter.
func heldSince(d Drop) (time.Time, bool) {
	for _, message := range d.Held {
		var surplus int
		if _, err := fmt.Sscanf(message, "%d of %d ", &surplus, &d.Owned); err != nil {
			continue
		}
		_, rest, _ := strings.Cut(message, sinceMark)
		text, _, _ := strings.Cut(rest, ": ")
		since, err := time.Parse(time.RFC3339, text)
		if err == nil && guardMessage(d, since) == message {
			return since, true
		}
	}
	return time.Time{}, false
}
