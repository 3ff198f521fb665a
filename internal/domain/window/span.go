package window

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are known also where the machine has none

	"github.com/robfig/cron/v3"
)

// cronFields are the five fields of a schedule: no seconds, no names like @daily.
var cronFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// span recurs: it begins when its schedule fires and lasts for its duration.
type span struct {
	schedule cron.Schedule
	duration time.Duration
	zone     *time.Location
	// always: it fires every minute and lasts at least that long.
	always bool
}

// budget bounds the work of one question: how often a schedule may be asked
// for its next firing. Three thousand take about two milliseconds.
type budget struct{ left int }

const searchLimit = 3_000

// fieldError names the field that is wrong.
func fieldError(at, field, format string, args ...any) error {
	return fmt.Errorf("%s.%s: %s", at, field, fmt.Sprintf(format, args...))
}

func parseSpan(at, schedule, duration string, zone *time.Location) (span, error) {
	if strings.Contains(schedule, "=") { // the library would read a zone here
		return span{}, fieldError(at, "schedule", "%q is not a cron schedule of five fields; the zone belongs into timeZone", schedule)
	}
	parsed, err := cronFields.Parse(schedule)
	if err != nil {
		return span{}, fieldError(at, "schedule", "%q is not a cron schedule of five fields (minute hour day month weekday): %s", schedule, err)
	}
	if parsed.Next(time.Unix(0, 0).UTC()).IsZero() {
		return span{}, fieldError(at, "schedule", "%q never comes: its day does not exist in its month", schedule)
	}
	d, err := time.ParseDuration(duration)
	if err != nil {
		return span{}, fieldError(at, "duration", "%q is not a duration such as 90m or 63h", duration)
	}
	if d <= 0 {
		return span{}, fieldError(at, "duration", "%q is not positive", duration)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	always := ok && d >= time.Minute && spec.Minute&spec.Hour&spec.Dom&spec.Month&spec.Dow&star != 0
	return span{schedule: parsed, duration: d, zone: zone, always: always}, nil
}

// star is the bit by which the library marks a field that was written as "*".
const star = 1 << 63

// parseZone finds an IANA zone; empty is UTC.
func parseZone(at, name string) (*time.Location, error) {
	if name == "Local" { // would depend on the machine
		return time.UTC, fieldError(at, "timeZone", "%q is not an IANA time zone such as Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC, fieldError(at, "timeZone", "%q is not an IANA time zone such as Europe/Berlin", name)
	}
	return zone, nil
}

// at says whether the span is open at now, and when that changes. The change
// is zero when none was found within the budget.
func (s span) at(now time.Time, b *budget) (open bool, change time.Time) {
	if s.always {
		return true, time.Time{}
	}
	here := latestWall(now, s.zone)
	start, fired := s.lastFiring(here, here.Add(-s.duration), &budget{left: searchLimit})
	if fired && s.instant(start.Add(s.duration)).After(now) {
		return true, s.end(start, b)
	}
	for w := here; b.left > 0; {
		next := s.next(w, b)
		if next.IsZero() {
			return false, time.Time{}
		}
		if begin := s.instant(next); s.instant(next.Add(s.duration)).After(begin) {
			return false, begin
		}
		w = next // wholly inside an hour that does not exist
	}
	return false, time.Time{}
}

// dayOfChange is more than any clock is ever moved by.
const dayOfChange = 26 * time.Hour

// end is where the chain of firings that overlap or touch ends.
func (s span) end(start time.Time, b *budget) time.Time {
	for b.left > 0 {
		end := start.Add(s.duration)
		last, ok := s.lastFiring(end, start, b)
		if !ok || !last.After(start) {
			return s.instant(end)
		}
		start = last
	}
	return time.Time{}
}

func (s span) next(wall time.Time, b *budget) time.Time {
	b.left--
	return s.schedule.Next(wall)
}

// lastFiring is the last firing in (after, until] on the wall clock.
func (s span) lastFiring(until, after time.Time, b *budget) (time.Time, bool) {
	first := s.next(after, b)
	if first.IsZero() || first.After(until) {
		return time.Time{}, false
	}
	// A firing is known at low; none begins after high.
	low, high := first, until
	for high.Sub(low) >= time.Second && b.left > 0 {
		middle := low.Add(high.Sub(low) / 2)
		if next := s.next(middle, b); !next.IsZero() && !next.After(until) {
			low = next
		} else {
			high = middle
		}
	}
	return low, true
}

// wallOf reads the clock on the wall of a zone, as a time without zone.
func wallOf(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), l.Nanosecond(), time.UTC)
}

// latestWall is the highest reading that the wall clock has shown until t: in
// the second pass of a repeated hour that is the end of the first.
func latestWall(t time.Time, zone *time.Location) time.Time {
	wall := wallOf(t, zone)
	if !instantOf(wall, zone).Before(t) {
		return wall
	}
	change, _ := t.In(zone).ZoneBounds()
	if change.IsZero() {
		return wall
	}
	return wallOf(change.Add(-time.Nanosecond), zone)
}

func (s span) instant(wall time.Time) time.Time { return instantOf(wall, s.zone) }

// instantOf is the first instant at which the wall clock shows the reading or
// has passed it.
func instantOf(wall time.Time, zone *time.Location) time.Time {
	_, before := wall.Add(-dayOfChange).In(zone).Zone()
	_, after := wall.Add(dayOfChange).In(zone).Zone()
	early, late := wall.Add(-time.Duration(before)*time.Second), wall.Add(-time.Duration(after)*time.Second)
	if late.Before(early) {
		early, late = late, early
	}
	switch {
	case wallOf(early, zone).Equal(wall):
		return early
	case wallOf(late, zone).Equal(wall):
		return late
	}
	if _, change := early.In(zone).ZoneBounds(); !change.IsZero() {
		return change
	}
	return late
}
