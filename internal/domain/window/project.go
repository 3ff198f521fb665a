package window

import (
	"fmt"
	"time"

	"github.com/gobwas/glob"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Project holds the sync windows of a project. A window that cannot be read
// blocks what it matches; Problems says why.
type Project struct{ entries []entry }

type entry struct {
	window v1alpha1.SyncWindow
	rule   rule
	// err makes the window block; warning only asks to be shown.
	err, warning error
}

// ParseProject reads spec.syncWindows of a project.
func ParseProject(windows []v1alpha1.SyncWindow) Project {
	var out Project
	for i, w := range windows {
		at := fmt.Sprintf("spec.syncWindows[%d]", i)
		e := entry{window: w}
		e.rule, e.warning, e.err = text{w.Kind, w.Schedule, w.Duration, w.TimeZone, w.Description}.parse(at)
		e.rule.manual, e.rule.overrun = w.ManualSync, w.SyncOverrun
		if e.err == nil && len(w.Applications)+len(w.Namespaces)+len(w.Clusters) == 0 {
			e.warning = fmt.Errorf("%s: applications, namespaces and clusters are all empty: the window matches nothing; list what it is for, for example applications: [\"*\"]", at)
		}
		out.entries = append(out.entries, e)
	}
	return out
}

// Problems lists what is wrong with the windows, each naming its field. A
// wrong time zone is a problem and counts as UTC, as the format has it.
func (p Project) Problems() []error {
	var out []error
	for _, e := range p.entries {
		if e.err != nil {
			out = append(out, e.err)
		} else if e.warning != nil {
			out = append(out, e.warning)
		}
	}
	return out
}

// Active are the windows open at now, in the order written.
func (p Project) Active(now time.Time) []v1alpha1.SyncWindow {
	var out []v1alpha1.SyncWindow
	for _, e := range p.entries {
		if e.err != nil {
			continue
		}
		if open, _ := e.rule.at(now, &budget{}); open {
			out = append(out, e.window)
		}
	}
	return out
}

// Assigned are the windows that concern one Application.
type Assigned struct{ Project }

// Assign picks the windows of an Application: by its name, the namespace it
// deploys to, and the name or server of its cluster as written. With
// andOperator every list that is not empty must hit, otherwise one is enough.
func (p Project) Assign(app *v1alpha1.Application) Assigned {
	var out Assigned
	for _, e := range p.entries {
		if matches(e.window, app) {
			out.entries = append(out.entries, e)
		}
	}
	return out
}

func matches(w v1alpha1.SyncWindow, app *v1alpha1.Application) bool {
	d := app.Spec.Destination
	hits, lists := 0, 0
	for _, list := range []struct{ patterns, values []string }{
		{w.Applications, []string{app.Name}}, {w.Namespaces, []string{d.Namespace}}, {w.Clusters, []string{d.Name, d.Server}},
	} {
		if len(list.patterns) == 0 {
			continue
		}
		lists++
		if anyMatch(list.patterns, list.values) {
			hits++
		}
	}
	if w.UseAndOperator {
		return lists > 0 && hits == lists
	}
	return hits > 0
}

// anyMatch matches globs without separator; an empty value matches nothing.
func anyMatch(patterns, values []string) bool {
	for _, p := range patterns {
		g, err := glob.Compile(p)
		for _, v := range values {
			if v != "" && ((err == nil && g.Match(v)) || p == v) {
				return true
			}
		}
	}
	return false
}

// Windows are the assigned windows in the order written.
func (a Assigned) Windows() []v1alpha1.SyncWindow {
	var out []v1alpha1.SyncWindow
	for _, e := range a.entries {
		out = append(out, e.window)
	}
	return out
}

// Request is a sync that somebody or something wants to run.
type Request struct {
	// Manual says that a person asked for it.
	Manual bool
	// StartedAt is when its operation began; zero when it has not begun.
	StartedAt time.Time
}

// Verdict says whether a sync may run.
type Verdict struct {
	Allowed bool
	// Why names the windows that block, or the field of a window that cannot
	// be read; empty when allowed.
	Why string
	// Until is when Allowed changes; zero when that is never or not known.
	Until time.Time
}

// Sync decides whether the request may run at now. It may when no window is
// assigned. An open deny window blocks unless all open ones let manual syncs
// through and this is one, or all let a sync run on that was allowed when it
// started. Without an open allow window, assigned allow windows block in the
// same way. A window that cannot be read blocks.
func (a Assigned) Sync(q Request, now time.Time) Verdict {
	rules := make([]rule, 0, len(a.entries))
	for _, e := range a.entries {
		if e.err != nil {
			return Verdict{Why: e.err.Error()}
		}
		rules = append(rules, e.rule)
	}
	begun := false
	if !q.StartedAt.IsZero() {
		begun = may(rules, look(rules, q.StartedAt), q.Manual, false)
	}
	m := look(rules, now)
	out := Verdict{
		Allowed: may(rules, m, q.Manual, begun),
		Until:   nextChange(rules, now, func(m moment) bool { return may(rules, m, q.Manual, begun) }),
	}
	if !out.Allowed {
		out.Why = blocking(rules, m)
	}
	return out
}

// may applies the rules; begun says that the sync was allowed when it began.
func may(rules []rule, m moment, manual, begun bool) bool {
	if !closed(rules, m) {
		return true
	}
	denied := false
	for i, r := range rules {
		denied = denied || (r.deny && m.open[i])
	}
	manualOK, overrunOK := manual, begun
	for i, r := range rules {
		if r.deny == denied && m.open[i] == denied { // the rules that close
			manualOK, overrunOK = manualOK && r.manual, overrunOK && r.overrun
		}
	}
	return manualOK || overrunOK
}
