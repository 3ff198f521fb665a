package advance

import (
	"testing"
	"time"
)

// TestPace lets changes come every 10 ms for a minute, some of them urgent: no
// second sees more than two writes, urgent ones wait for nothing else than
// that, which is seldom for steps of usual length, and nothing waits for long.
func TestPace(t *testing.T) {
	t.Parallel()
	for name, urgentEach := range map[string]time.Duration{
		"never urgent": time.Hour, "a step each 600 ms": 600 * time.Millisecond, "a step each 2 s": 2 * time.Second, "a flood": 10 * time.Millisecond,
	} {
		var p pace
		begin := time.Unix(1_800_000_000, 0)
		var writes []time.Time
		var urgentSince time.Time
		urgents, late := 0, 0
		for now := begin; now.Before(begin.Add(time.Minute)); now = now.Add(10 * time.Millisecond) {
			if urgentSince.IsZero() && now.Sub(begin)%urgentEach == 0 && now.After(begin) {
				urgentSince = now
			}
			if p.rest(now, !urgentSince.IsZero()) > 0 {
				continue
			}
			if !urgentSince.IsZero() {
				urgents++
				if waited := now.Sub(urgentSince); waited >= 500*time.Millisecond && urgentEach >= 600*time.Millisecond {
					t.Errorf("%s: what was urgent waited %s", name, waited)
				} else if waited > 0 {
					late++
				}
			}
			writes, urgentSince = append(writes, now), time.Time{}
			p.wrote(now)
		}
		for i, at := range writes {
			if i >= 2 && at.Sub(writes[i-2]) < time.Second {
				t.Fatalf("%s: three writes within %s", name, at.Sub(writes[i-2]))
			}
			if i >= 1 && at.Sub(writes[i-1]) > 1200*time.Millisecond {
				t.Errorf("%s: a change waited %s", name, at.Sub(writes[i-1]))
			}
		}
		if urgentEach >= 600*time.Millisecond && late*30 > urgents {
			t.Errorf("%s: %d of %d urgent writes waited", name, late, urgents)
		}
		if len(writes) < 50 {
			t.Errorf("%s: %d writes in a minute", name, len(writes))
		}
	}
}

// TestPaceCollects writes what nobody waits for once it has been collected, and
// at once when somebody does; a clock that is set back holds nothing up.
func TestPaceCollects(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1_800_000_000, 0)
	if got := p.rest(now, false); got != collect {
		t.Errorf("a first change waits %s, want %s", got, collect)
	}
	if got := p.rest(now.Add(200*time.Millisecond), true); got != 0 {
		t.Errorf("an urgent one waits %s", got)
	}
	p.wrote(now)
	if got := p.rest(now.Add(-time.Hour), true); got != 0 {
		t.Errorf("after the clock was set back it waits %s", got)
	}
	p.wrote(now)
	if got := p.rest(now.Add(-time.Hour), true); got != 0 {
		t.Errorf("after two writes and a clock that was set back it waits %s", got)
	}
	if got := p.rest(now.Add(300*time.Millisecond), true); got != 700*time.Millisecond {
		t.Errorf("beyond the budget it waits %s", got)
	}
}
