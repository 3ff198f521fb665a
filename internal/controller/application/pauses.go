package application

import (
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/autosync"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// Keys of argocd-cmd-params-cm for the pauses of syncs (spec/config.md §5).
const (
	waveDelayKey  = "controller.sync.wave.delay.seconds"
	healFlatKey   = "controller.self.heal.timeout.seconds"
	healBaseKey   = "controller.self.heal.backoff.timeout.seconds"
	healFactorKey = "controller.self.heal.backoff.factor"
	healCapKey    = "controller.self.heal.backoff.cap.seconds"
)

// number reads one of these keys; what is no number of zero or more counts as
// absent.
func (c *Controller) number(key string) (n int64, given bool) {
	text, given := c.Given[key]
	if !given && c.Settings != nil {
		if snapshot := c.Settings.Snapshot(); snapshot != nil {
			text = snapshot.Params[key]
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	return max(n, 0), err == nil && n >= 0
}

// healPace is the pace of self-heals. A base of 0, or a fixed pause and no base,
// makes all pauses the same (spec/application.md §10).
func (c *Controller) healPace() autosync.Pace {
	pace := autosync.DefaultPace
	flat, fixed := c.number(healFlatKey)
	base, growing := c.number(healBaseKey)
	if growing && base == 0 || !growing && fixed && flat > 0 {
		return autosync.Pace{Base: time.Duration(flat) * time.Second, Factor: 1}
	}
	if growing {
		pace.Base = time.Duration(base) * time.Second
	}
	if n, given := c.number(healFactorKey); given {
		pace.Factor = n
	}
	if n, given := c.number(healCapKey); given {
		pace.Cap = time.Duration(n) * time.Second
	}
	return pace
}

// lastWave is the wave that an attempt of an operation was at, and when.
type lastWave struct {
	marker string
	phase  syncplan.Phase
	wave   int
	at     time.Time
}

// waveOf is the wave that a move writes objects of; none is not ok.
func waveOf(m syncplan.Move) (phase syncplan.Phase, wave int, ok bool) {
	for _, group := range m.Groups {
		for _, act := range group {
			switch act.Verb {
			case syncplan.Apply, syncplan.CreateHook, syncplan.Prune:
				return act.Task.Phase, act.Task.Wave, true
			}
		}
	}
	return "", 0, false
}

// betweenWaves is how long a move has to wait, because it begins a wave and the
// pause after the one before is not over (spec/sync.md §6). There is none unless
// somebody asks for it.
func (x *execution) betweenWaves(m syncplan.Move) time.Duration {
	seconds, _ := x.number(waveDelayKey)
	phase, wave, ok := waveOf(m)
	if seconds == 0 || !ok || phase == syncplan.SyncFail {
		return 0
	}
	x.mu.Lock()
	last := x.waves[x.key]
	x.mu.Unlock()
	if last.marker != x.marker || last.phase == phase && last.wave == wave {
		return 0
	}
	return max(0, time.Duration(seconds)*time.Second-x.Clock.Since(last.at))
}

// wrote notes the wave that a move has written objects of.
func (x *execution) wrote(m syncplan.Move) {
	if phase, wave, ok := waveOf(m); ok {
		x.mu.Lock()
		x.waves[x.key] = lastWave{marker: x.marker, phase: phase, wave: wave, at: x.Clock.Now()}
		x.mu.Unlock()
	}
}
