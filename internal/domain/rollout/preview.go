package rollout

import (
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Plan is what a rollout would do if it began now; making it changes nothing
// (L15). It needs no stored record, so that it also works for a manifest that
// has not been saved.
type Plan struct {
	// Problem says why the strategy cannot be carried out; then nothing would
	// be synced.
	Problem string `json:"problem,omitempty"`
	// Incomplete says what the generators lack: there may be more Applications
	// than the plan knows.
	Incomplete []string                 `json:"incomplete,omitempty"`
	Target     []v1alpha1.RolloutSource `json:"target,omitempty"`
	Steps      []PlanStep               `json:"steps"`
	// Lists of Applications by what is special about them.
	Unmatched   []string `json:"unmatched,omitempty"`
	Manual      []string `json:"manual,omitempty"`
	Skipped     []string `json:"skipped,omitempty"`
	Overlapping []string `json:"overlapping,omitempty"`
	// Minimum is how long bakes and analyses take at least, in seconds.
	Minimum int64 `json:"minimumSeconds"`
}

// PlanStep is a step of a Plan.
type PlanStep struct {
	Index int    `json:"index"`
	Title string `json:"title"`
	// Members in order of admission.
	Members []PlanMember `json:"members"`
	Limit   int          `json:"limit"`
	// Batches holds the names that would be synced together; with Sliding one
	// batch of all.
	Batches  [][]string `json:"batches,omitempty"`
	Current  int        `json:"current"`
	Outdated int        `json:"outdated"`
	Unknown  int        `json:"unknown"`
	Failing  int        `json:"failing"`
	Approval string     `json:"approval,omitempty"`
	// Closed is until when its window is closed.
	Closed  *time.Time `json:"closedUntil,omitempty"`
	Minimum int64      `json:"minimumSeconds"`
}

// PlanMember is an Application of a PlanStep.
type PlanMember struct {
	Name        string      `json:"name"`
	Class       Class       `json:"class"`
	Observation Observation `json:"observation"`
	Invalid     string      `json:"invalid,omitempty"`
}

// Preview plans. Of in.Set only the spec counts.
func Preview(in Input) Plan {
	bare := in.Set.DeepCopy()
	bare.Status = v1alpha1.ApplicationSetStatus{}
	in.Set = bare
	p := newPlanner(in)
	p.identify()
	out := Plan{Problem: p.invalid, Target: p.sources().Sources, Steps: make([]PlanStep, len(p.steps))}
	for k := range p.steps {
		c := &p.steps[k]
		s := &out.Steps[k]
		s.Index, s.Title = k+1, p.title(k+1)
		if c.approval != ApprovalNone {
			s.Approval = c.approval
		}
		if w := p.window(k + 1); w.Closed && !w.Until.IsZero() {
			s.Closed = &w.Until
		}
	}
	for i := range p.Members {
		p.place(i, &out)
	}
	for k := range out.Steps {
		p.batches(k+1, &out.Steps[k])
		out.Minimum += out.Steps[k].Minimum
	}
	return out
}

// place puts a member into its step or list.
func (p *planner) place(i int, out *Plan) {
	m := &p.Members[i]
	switch m.Class {
	case Unmatched:
		out.Unmatched = append(out.Unmatched, m.Name())
	case Manual:
		out.Manual = append(out.Manual, m.Name())
	case Skipped:
		out.Skipped = append(out.Skipped, m.Name())
	}
	if len(matching(p.rolling.Steps, m.Rendered.Labels)) > 1 {
		out.Overlapping = append(out.Overlapping, m.Name())
	}
	if !p.takesPart(m) || m.Step < 1 || m.Step > len(out.Steps) {
		return
	}
	s := &out.Steps[m.Step-1]
	seen := m.observe(p.targets[i], "", false)
	s.Members = append(s.Members, PlanMember{Name: m.Name(), Class: m.Class, Observation: seen, Invalid: m.Invalid})
	switch seen {
	case Current:
		s.Current++
	case Outdated:
		s.Outdated++
	case Failing:
		s.Failing++
	default:
		s.Unknown++
	}
}

// batches cuts what a step would sync, and adds up its least duration.
func (p *planner) batches(k int, s *PlanStep) {
	c := &p.steps[k-1]
	limit, err := Limit(c.max, len(s.Members))
	if err != nil {
		return
	}
	s.Limit = limit
	var names []string
	for _, m := range s.Members {
		if m.Observation != Current && m.Invalid == "" && (m.Class != Manual || p.rolling.ManualSyncPolicy == ManualSync) {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	for size := limit; size > 0 && len(names) > 0 && !c.sliding; {
		n := min(size, len(names))
		s.Batches = append(s.Batches, names[:n])
		names = names[n:]
	}
	if c.sliding && limit > 0 {
		s.Batches = [][]string{names}
	}
	least := max(c.bake, c.batchBake) + c.batchBake*time.Duration(max(0, len(s.Batches)-1))
	if c.analysis != nil {
		longest := time.Duration(0)
		for i := range c.analysis.Metrics {
			m := &c.analysis.Metrics[i]
			longest = max(longest, span(m.InitialDelay)+span(m.Interval)*time.Duration(whole(m.Count, 1)-1))
		}
		if c.analysis.When == AnalyzeDuringBake {
			least = max(least, longest)
		} else {
			least += longest
		}
	}
	s.Minimum = int64(least.Seconds())
}
