package appset

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/live"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// target is what a rollout brings, in a few words.
func target(sources []v1alpha1.RolloutSource) string {
	var all []string
	for _, s := range sources {
		revision := s.Revision
		if len(revision) == 40 || len(revision) == 64 {
			revision = revision[:7]
		}
		all = append(all, cmp.Or(revision, s.TargetRevision, "HEAD"))
	}
	return strings.Join(all, ", ")
}

// lines are the view of a rollout for people: the first one says in a sentence
// what happens or what blocks it.
func (v *verbs) lines(r *rollout.View) []string {
	paint := live.Paint
	if !v.d.Console.OutTerminal {
		paint = func(_, text string) string { return text }
	}
	now := v.d.Console.Clock.Now()
	out := []string{paint(live.Bold, output.Clean(r.Summary))}
	if r.Ignored != "" {
		return out
	}
	head := fmt.Sprintf("Rollout %d is %s", r.ID, paint(shade(r.Phase), r.Phase))
	if t := target(r.Target); t != "" {
		head += ", target " + t
	}
	if r.Started != nil {
		head += ", began " + output.Ago(now, *r.Started)
	}
	out = append(out, head)
	if r.Next != "" {
		next := "Next: " + output.Clean(r.Next)
		if r.Until != nil && r.Until.After(now) {
			next += " (" + output.Ago(now, *r.Until) + ")"
		}
		out = append(out, next)
	}
	out = append(out, "")
	table := [][]string{{"STEP", "PHASE", "HEALTHY", "PROGRESSING", "WAITING", "FAILED", "LIMIT", "WAITS FOR"}}
	for i := range r.Steps {
		s := &r.Steps[i]
		mark := " "
		if r.Current == i+1 {
			mark = ">"
		}
		table = append(table, []string{
			mark + " " + s.Title, paint(shade(s.Phase), s.Phase), fmt.Sprintf("%d/%d", s.Healthy, s.Total), strconv.Itoa(int(s.Progressing + s.Pending)),
			strconv.Itoa(int(s.Waiting)), strconv.Itoa(int(s.Failed)), strconv.Itoa(int(s.Limit)), output.Clean(s.Waits),
		})
	}
	out = append(out, live.Columns(table)...)
	out = append(out, v.applications("Blocking", r.Blocking, now)...)
	out = append(out, v.applications("Elsewhere", r.Elsewhere, now)...)
	if r.More > 0 {
		out = append(out, fmt.Sprintf("and %d more", r.More))
	}
	for _, w := range r.Warnings {
		out = append(out, "", "Warning: "+output.Clean(w))
	}
	if len(r.Actions) > 0 {
		out = append(out, "", "You can:")
		var all [][]string
		for _, a := range r.Actions {
			step := ""
			if a.Ask.Step != "" {
				step = " " + a.Ask.Step
			}
			all = append(all, []string{"  appset rollout " + string(a.Verb) + " NAME" + step, output.Clean(a.Why)})
		}
		out = append(out, live.Columns(all)...)
	}
	return out
}

func (v *verbs) applications(title string, all []rollout.ApplicationView, now time.Time) []string {
	if len(all) == 0 {
		return nil
	}
	table := [][]string{{strings.ToUpper(title), "STEP", "STATUS", "SYNC", "HEALTH", "SINCE", "MESSAGE"}}
	for i := range all {
		a := &all[i]
		since := ""
		if a.Since != nil {
			since = output.Age(now, *a.Since)
		}
		message := a.Message
		for _, more := range []string{a.Operation, a.Problem} {
			if more != "" {
				message += "; " + more
			}
		}
		table = append(table, []string{a.Name, a.Step, a.Status, string(a.Sync), string(a.Health), since, output.Clean(message)})
	}
	return append([]string{""}, live.Columns(table)...)
}

func shade(phase string) string {
	switch phase {
	case rollout.PhaseCompleted, rollout.Healthy:
		return live.Green
	case rollout.PhaseHalted, rollout.PhaseAborted, rollout.PhaseRolledBack:
		return live.Red
	}
	return live.Yellow
}

// printPlan prints a plan: what would be synced in which order.
func (v *verbs) printPlan(p *rollout.Plan) error {
	if p.Problem != "" {
		v.d.Console.Printf("Nothing would be synced: %s\n", output.Clean(p.Problem))
		return nil
	}
	total, outdated := 0, 0
	for i := range p.Steps {
		total += len(p.Steps[i].Members)
		outdated += p.Steps[i].Outdated
	}
	v.d.Console.Printf("A rollout now would sync %d of %d Applications in %d steps, target %s\n", outdated, total, len(p.Steps), cmp.Or(target(p.Target), "unknown"))
	if p.Minimum > 0 {
		v.d.Console.Printf("It takes at least %s of bake time and analysis.\n", time.Duration(p.Minimum)*time.Second)
	}
	v.d.Console.Printf("\n")
	table := [][]string{{"STEP", "APPLICATIONS", "OUTDATED", "FAILING", "UNKNOWN", "LIMIT", "APPROVAL", "BATCHES"}}
	for i := range p.Steps {
		s := &p.Steps[i]
		var batches []string
		for _, b := range s.Batches {
			batches = append(batches, cut(b))
		}
		table = append(table, []string{
			s.Title, strconv.Itoa(len(s.Members)), strconv.Itoa(s.Outdated), strconv.Itoa(s.Failing), strconv.Itoa(s.Unknown), strconv.Itoa(s.Limit),
			cmp.Or(s.Approval, "-"), cmp.Or(strings.Join(batches, " | "), "-"),
		})
	}
	if err := output.Table(v.d.Console.Out, table); err != nil {
		return err
	}
	for _, l := range []struct {
		title string
		names []string
	}{{"Match no step", p.Unmatched}, {"Synced by hand only", p.Manual}, {"Skipped", p.Skipped}, {"Match several steps", p.Overlapping}, {"Incomplete", p.Incomplete}} {
		if len(l.names) > 0 {
			v.d.Console.Printf("%s: %s\n", l.title, output.Clean(cut(l.names)))
		}
	}
	return nil
}

// cut lists at most eight names.
func cut(names []string) string {
	if len(names) > 8 {
		return strings.Join(names[:8], ",") + fmt.Sprintf(" and %d more", len(names)-8)
	}
	return strings.Join(names, ",")
}
