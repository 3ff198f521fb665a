package application

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/domain/autosync"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

func TestHealPace(t *testing.T) {
	t.Parallel()
	grows := func(base, factor, most int64) autosync.Pace {
		return autosync.Pace{Base: time.Duration(base) * time.Second, Factor: factor, Cap: time.Duration(most) * time.Second}
	}
	for name, c := range map[string]struct {
		given map[string]string
		want  autosync.Pace
	}{
		"nothing is said":        {nil, autosync.DefaultPace},
		"a fixed pause":          {map[string]string{healFlatKey: "7"}, grows(7, 1, 0)},
		"a fixed pause, no base": {map[string]string{healFlatKey: "7", healBaseKey: "0"}, grows(7, 1, 0)},
		"no pause at all":        {map[string]string{healBaseKey: "0"}, grows(0, 1, 0)},
		"all of it":              {map[string]string{healBaseKey: "1", healFactorKey: "2", healCapKey: " 10 "}, grows(1, 2, 10)},
		"a base wins":            {map[string]string{healBaseKey: "1", healFlatKey: "9"}, grows(1, 3, 300)},
		"no numbers":             {map[string]string{healBaseKey: "soon", healFactorKey: "-2", healCapKey: "1h"}, autosync.DefaultPace},
	} {
		p := &Controller{Options: Options{Given: c.given}}
		if got := p.healPace(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestBetweenWaves: who asks for it gets a pause before each wave but the first,
// from the end of the one before.
func TestBetweenWaves(t *testing.T) {
	t.Parallel()
	move := func(verb syncplan.Verb, phase syncplan.Phase, wave int) syncplan.Move {
		return syncplan.Move{Groups: [][]syncplan.Act{{{Verb: verb, Task: syncplan.Task{Phase: phase, Wave: wave}}}}}
	}
	clock := testclock.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	at := func(given, marker string) *execution {
		c := &Controller{Options: Options{Clock: clock, Given: map[string]string{waveDelayKey: given}}, waves: map[types.NamespacedName]lastWave{}}
		return &execution{pass: &pass{Controller: c}, marker: marker}
	}
	x := at("2", "op/0")
	want := func(why string, m syncplan.Move, rest time.Duration) {
		t.Helper()
		if got := x.betweenWaves(m); got != rest {
			t.Errorf("%s: waits %s, want %s", why, got, rest)
		}
	}
	want("the first wave", move(syncplan.Prune, syncplan.Sync, 0), 0)
	x.wrote(move(syncplan.Prune, syncplan.Sync, 0))
	want("more of the same wave", move(syncplan.Apply, syncplan.Sync, 0), 0)
	clock.SetTime(clock.Now().Add(time.Second))
	x.wrote(move(syncplan.Apply, syncplan.Sync, 0))
	want("the next wave", move(syncplan.Apply, syncplan.Sync, 1), 2*time.Second)
	want("the next phase", move(syncplan.CreateHook, syncplan.PostSync, 0), 2*time.Second)
	want("what is no wave", move(syncplan.ReleaseHook, syncplan.PostSync, 0), 0)
	want("hooks of a failure", move(syncplan.CreateHook, syncplan.SyncFail, 0), 0)
	x.wrote(move(syncplan.ReleaseHook, syncplan.Sync, 0))
	clock.SetTime(clock.Now().Add(1500 * time.Millisecond))
	want("some time later", move(syncplan.Apply, syncplan.Sync, 1), 500*time.Millisecond)
	clock.SetTime(clock.Now().Add(time.Second))
	want("long enough", move(syncplan.Apply, syncplan.Sync, 1), 0)
	clock.SetTime(clock.Now().Add(-time.Second))
	x.marker = "op/1"
	want("another attempt", move(syncplan.Apply, syncplan.Sync, 1), 0)
	x = at("", "op/0")
	x.wrote(move(syncplan.Apply, syncplan.Sync, 0))
	want("nobody asks for it", move(syncplan.Apply, syncplan.Sync, 1), 0)
}
