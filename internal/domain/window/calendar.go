package window

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kinds of windows.
const (
	Allow = "allow"
	Deny  = "deny"
)

// maxDescription is the length of a description in bytes.
const maxDescription = 255

// rule is one parsed window.
type rule struct {
	span
	deny            bool
	manual, overrun bool
	words           string
}

// text is what a window of either form is written as.
type text struct{ kind, schedule, duration, zone, description string }

// parse reads a window; at is where it stands, for errors. zoneErr is set
// alone when only the zone is wrong: the rule then counts in UTC.
func (w text) parse(at string) (r rule, zoneErr, err error) {
	if w.kind != Allow && w.kind != Deny {
		return r, nil, fieldError(at, "kind", "%q is neither allow nor deny", w.kind)
	}
	if len(w.description) > maxDescription {
		return r, nil, fieldError(at, "description", "has %d bytes, at most %d are allowed", len(w.description), maxDescription)
	}
	zone, zoneErr := parseZone(at, w.zone)
	s, err := parseSpan(at, w.schedule, w.duration, zone)
	if err != nil {
		return r, nil, err
	}
	words := fmt.Sprintf("%s window %q for %s (%s)", w.kind, w.schedule, w.duration, zone)
	if w.description != "" {
		words += ": " + w.description
	}
	return rule{span: s, deny: w.kind == Deny, words: words}, zoneErr, nil
}

// moment is the state of a set of rules at an instant.
type moment struct{ open []bool }

func look(rules []rule, now time.Time) moment {
	m := moment{open: make([]bool, len(rules))}
	for i, r := range rules {
		m.open[i], _ = r.at(now, &budget{})
	}
	return m
}

// nextChange finds the first instant after now at which answer changes; zero
// when there is none within the bound of the search.
func nextChange(rules []rule, now time.Time, answer func(moment) bool) time.Time {
	b := &budget{left: searchLimit}
	m := moment{open: make([]bool, len(rules))}
	changes := make([]time.Time, len(rules))
	for i, r := range rules {
		m.open[i], changes[i] = r.at(now, b)
	}
	before := answer(m)
	for b.left > 0 {
		next := time.Time{}
		for _, c := range changes {
			if !c.IsZero() && (next.IsZero() || c.Before(next)) {
				next = c
			}
		}
		if next.IsZero() {
			return next
		}
		for i, r := range rules {
			if changes[i].Equal(next) {
				m.open[i], changes[i] = r.at(next, b)
			}
		}
		if answer(m) != before {
			return next
		}
	}
	return time.Time{}
}

// blocking says in words which rules close: open denies, otherwise the allows
// none of which is open.
func blocking(rules []rule, m moment) string {
	var denies, allows []string
	for i, r := range rules {
		switch {
		case r.deny && m.open[i]:
			denies = append(denies, r.words)
		case !r.deny && !m.open[i]:
			allows = append(allows, r.words)
		}
	}
	if len(denies) > 0 {
		return "closed by " + strings.Join(denies, ", ")
	}
	return "outside of " + strings.Join(allows, ", ")
}

// closed is the plain reading of windows: an open deny, or allows of which
// none is open.
func closed(rules []rule, m moment) bool {
	allows, opened := false, false
	for i, r := range rules {
		if r.deny && m.open[i] {
			return true
		}
		allows, opened = allows || !r.deny, opened || (!r.deny && m.open[i])
	}
	return allows && !opened
}

// pick is the rules at the given places.
func pick[T any](all []T, at []int) []T {
	out := make([]T, 0, len(at))
	for i, x := range all {
		if slices.Contains(at, i) {
			out = append(out, x)
		}
	}
	return out
}
