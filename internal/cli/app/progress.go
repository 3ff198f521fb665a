package app

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/live"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// progress shows how an operation goes on.
type progress interface {
	// see takes in a state of the Application.
	see(app *v1alpha1.Application, now time.Time)
	// done ends it; what stays on the screen is up to it.
	done()
}

// silent shows nothing: the output is for machines.
type silent struct{}

func (silent) see(*v1alpha1.Application, time.Time) {}
func (silent) done()                                {}

// stream writes one line for each change of an object (spec/cli.md §2.1).
type stream struct {
	w      io.Writer
	pick   func(key) bool
	before map[key]state
	header bool
}

const streamRow = "%s\t%5s\t%10s\t%10s\t%20s\t%8s\t%7s\t%10s\t%s\n"

func (s *stream) see(app *v1alpha1.Application, now time.Time) {
	t := tabwriter.NewWriter(s.w, 5, 0, 2, ' ', 0)
	if !s.header {
		s.header, s.before = true, map[key]state{}
		_, _ = fmt.Fprintf(t, streamRow, "TIMESTAMP", "GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "HOOK", "MESSAGE")
	}
	for _, one := range states(app, s.pick) {
		id := one.key
		if one.hook != "" {
			id.kind += "\x00" + one.hook // a hook and an object of the same name are two rows
		}
		if old, ok := s.before[id]; ok && old.status == one.status && old.health == one.health && old.hook == one.hook && old.message == one.message {
			continue
		}
		s.before[id] = one
		_, _ = fmt.Fprintf(t, streamRow, now.Local().Format(time.RFC3339), one.group, one.kind, one.namespace, one.name, one.status, one.health, one.hook, output.Clean(one.message))
	}
	_ = t.Flush() // a pipe that is closed ends the program by itself
}

func (s *stream) done() {}

// screen draws the objects by wave, in place.
type screen struct {
	painter *live.Painter
	pick    func(key) bool
}

func (s *screen) see(app *v1alpha1.Application, now time.Time) { s.painter.Draw(s.lines(app, now)) }
func (s *screen) done()                                        { s.painter.Clear() }

func (s *screen) lines(app *v1alpha1.Application, now time.Time) []string {
	all := states(app, s.pick)
	slices.SortStableFunc(all, func(a, b state) int { return cmp.Compare(a.wave, b.wave) })
	finished := 0
	for _, o := range all {
		if settled(o) {
			finished++
		}
	}
	out := []string{live.Paint(live.Bold, Qualified(app)) + "  " + headline(app, now), fmt.Sprintf("%s %d/%d objects are synced and healthy", bar(finished, len(all), 24), finished, len(all))}
	var table [][]string
	waves := map[int64]bool{}
	for _, o := range all {
		waves[o.wave] = true
	}
	last := int64(0)
	for i, o := range all {
		wave := ""
		if len(waves) > 1 && (i == 0 || o.wave != last) {
			wave = fmt.Sprintf("wave %d", o.wave)
		}
		last = o.wave
		table = append(table, []string{
			wave, mark(o), o.kind + "/" + o.name, colour(o.status), colour(o.health), o.hook, output.Clean(o.message),
		})
	}
	return append(out, live.Columns(table)...)
}

// headline says what the operation does.
func headline(app *v1alpha1.Application, now time.Time) string {
	health := colour(string(cmp.Or(app.Status.Health.Status, v1alpha1.HealthUnknown)))
	line := colour(string(cmp.Or(app.Status.Sync.Status, v1alpha1.SyncStatusUnknown))) + ", " + health
	op := app.Status.OperationState
	switch {
	case app.Operation != nil && (op == nil || op.Phase.Completed()):
		return line + "  operation requested"
	case op == nil:
		return line
	case !op.Phase.Completed():
		return line + fmt.Sprintf("  %s for %s: %s", op.Phase, now.Sub(op.StartedAt.Time).Round(time.Second), output.Clean(op.Message))
	}
	return line + "  operation " + colour(string(op.Phase))
}

func settled(s state) bool {
	if s.hook != "" {
		return s.status == string(v1alpha1.OperationSucceeded)
	}
	return (s.status == string(v1alpha1.SyncStatusSynced) || s.status == string(v1alpha1.ResultPruned)) &&
		(s.health == "" || s.health == string(v1alpha1.HealthHealthy) || s.health == string(v1alpha1.HealthSuspended))
}

func mark(s state) string {
	switch {
	case settled(s):
		return live.Paint(live.Green, "✔")
	case bad(s.status), bad(s.health):
		return live.Paint(live.Red, "✖")
	}
	return live.Paint(live.Yellow, "●")
}

func bad(word string) bool {
	switch word {
	case string(v1alpha1.HealthDegraded), string(v1alpha1.ResultSyncFailed), string(v1alpha1.OperationFailed), string(v1alpha1.OperationError):
		return true
	}
	return false
}

func colour(word string) string {
	switch {
	case bad(word):
		return live.Paint(live.Red, word)
	case word == string(v1alpha1.HealthHealthy), word == string(v1alpha1.SyncStatusSynced), word == string(v1alpha1.OperationSucceeded):
		return live.Paint(live.Green, word)
	case word == "":
		return ""
	}
	return live.Paint(live.Yellow, word)
}

// bar is how much of a whole is done.
func bar(part, whole, width int) string {
	n := 0
	if whole > 0 {
		n = part * width / whole
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

// newProgress chooses what a person or a pipe gets.
func (v *verbs) newProgress(format string, pick func(key) bool) progress {
	c := v.d.Console
	switch {
	case format == "json" || format == "yaml":
		return silent{}
	case c.OutTerminal && c.Getenv("TERM") != "dumb":
		return &screen{painter: live.New(c.Out, c.Size), pick: pick}
	}
	return &stream{w: c.Out, pick: pick}
}
