package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// change says how a member's target differs from the recorded one.
type change uint8

const (
	unchanged change = iota
	fresh            // there is no record of it as a member
	moved            // the same rendered objects, other revisions
	differs
	undecided // nobody has rendered the new revisions yet
)

// member says that the Application takes part in a step.
func (p *planner) takesPart(m *Member) bool {
	switch m.Class {
	case Managed:
		return true
	case Manual:
		return p.rolling.ManualSyncPolicy != ManualSkip
	case Unmatched:
		return m.Step > 0
	}
	return false
}

// driven says that the rollout syncs the Application.
func (p *planner) driven(m *Member) bool {
	return m.Class == Managed || (m.Class == Unmatched && m.Step > 0) || (m.Class == Manual && p.rolling.ManualSyncPolicy == ManualSync)
}

// census counts how the targets of members differ from the record. Of the
// undecided ones, open ones will tell soon and mute ones will not.
type census struct {
	members, fresh, revision, spec, proved, open, mute, respecified int
}

// undecided is how many must still tell whether anything changed.
func (n *census) undecided() int {
	if n.proved == 0 {
		return n.open + n.mute
	}
	return n.open
}

// identify settles every member's target and whether a new rollout starts
// (spec/progressive-sync.md §6.4 and §6.7).
func (p *planner) identify() {
	p.targets, p.changes = make([]Target, len(p.Members)), make([]change, len(p.Members))
	pins := p.pins()
	var n census
	for i := range p.Members {
		p.aim(i, pins)
		p.count(i, &n)
	}
	if n.respecified > 0 && n.spec+n.respecified < known(n) { // parameters of some members
		n.spec, n.open = n.spec+n.respecified, 0
	}
	all := n.spec > 0 && n.spec+n.respecified >= known(n)
	switch {
	case p.before.ID == 0:
		p.begin("Membership")
	case p.lost:
		p.begin(p.before.Trigger)
	case n.revision > 0:
		p.begin("Revision")
	case all:
		p.begin("Template")
	case n.spec > 0 && !p.active():
		p.begin("Parameters")
	case n.undecided() > 0:
		p.await(n)
	case n.fresh > 0 && !p.active():
		p.begin("Membership")
	}
	if n.undecided() == 0 || p.restart {
		p.mem.Undecided = 0
	}
	if !p.hold {
		return
	}
	for i := range p.Members { // until then the recorded targets hold
		e := p.mem.get(p.Members[i].Name())
		switch {
		case p.changes[i] == fresh:
			p.targets[i] = p.last(&p.Members[i], "the revision is being compared with the one before")
		case e != nil && len(e.Revisions) > 0:
			p.targets[i] = Target{SpecHash: e.Spec, Revisions: e.Revisions}
			p.changes[i] = unchanged
		}
	}
}

// last is the target of a member at the revisions that the stored rollout pins;
// with a problem when it has a source that is not pinned.
func (p *planner) last(m *Member, problem string) Target {
	t := Target{SpecHash: short(m.Target.SpecHash)}
	pins := p.stored()
	for _, src := range m.Rendered.Spec.GetSources() {
		pin := pins[v1alpha1.RolloutSource{RepoURL: src.RepoURL, Chart: src.Chart, TargetRevision: src.TargetRevision}]
		if pin == "" {
			return Target{SpecHash: t.SpecHash, Problem: problem}
		}
		t.Revisions = append(t.Revisions, pin)
	}
	return t
}

// stored are the revisions that the stored rollout pins.
func (p *planner) stored() map[v1alpha1.RolloutSource]string {
	if p.before.Target == nil || p.pinnedBefore != nil {
		return p.pinnedBefore
	}
	out := make(map[v1alpha1.RolloutSource]string, len(p.before.Target.Sources))
	p.pinnedBefore = out
	for _, s := range p.before.Target.Sources {
		out[v1alpha1.RolloutSource{RepoURL: s.RepoURL, Chart: s.Chart, TargetRevision: s.TargetRevision}] = s.Revision
	}
	return out
}

// await gives new revisions a moment to prove that they change nothing.
func (p *planner) await(n census) {
	if p.mem.Undecided == 0 || p.mem.Undecided > p.now {
		p.mem.Undecided = p.now
	}
	if rest := settleTime.Milliseconds() - (p.now - p.mem.Undecided); rest > 0 {
		p.hold = true
		p.wakeIn(rest)
		return
	}
	if n.proved > 0 && n.respecified == 0 {
		return // the others must prove themselves, each in its step
	}
	if n.respecified == known(n) {
		p.begin("Template")
		return
	}
	p.begin("Revision")
}

func known(n census) int { return n.members - n.fresh }

// aim settles the target of one member.
func (p *planner) aim(i int, pins map[v1alpha1.RolloutSource]string) {
	m := &p.Members[i]
	t := m.Target
	t.SpecHash = short(t.SpecHash)
	e := p.mem.get(m.Name())
	if t.Problem != "" {
		if t = p.last(m, t.Problem); t.Problem != "" && e != nil && len(e.Revisions) > 0 && e.Spec == t.SpecHash {
			t = Target{SpecHash: e.Spec, Revisions: e.Revisions}
		}
	}
	if pins != nil && t.Problem == "" {
		t = p.pinned(m, t, pins)
	}
	p.targets[i] = t
	p.changes[i] = p.compareTarget(m, e, t)
}

// short cuts a digest to what the record keeps of it.
func short(hash string) string { return hash[:min(len(hash), 12)] }

func (p *planner) compareTarget(m *Member, e *entry, t Target) change {
	switch {
	case e == nil || (e.Step == 0 && p.takesPart(m)):
		return fresh
	case t.Problem != "":
		return unchanged
	}
	exact := m.settled() && m.placed() && m.at(t.Revisions) && !m.unreadable()
	key := m.key(t.Digest)
	if exact && key == "" {
		key = m.reported()
	}
	if t.equal(Target{SpecHash: e.Spec, Revisions: e.Revisions}) {
		if e.Flags.has(unproven) && key != "" && e.Key != "" && key != e.Key {
			return differs
		}
		return unchanged
	}
	switch {
	case key != "" && key == e.Key:
		return moved
	case key != "" && e.Key != "":
		return differs
	case exact && e.Status == Healthy && m.Live.Status.Sync.Status == v1alpha1.SyncStatusSynced:
		return moved
	case exact:
		return differs
	}
	return undecided
}

func (p *planner) count(i int, n *census) {
	m := &p.Members[i]
	if !p.takesPart(m) {
		return
	}
	n.members++
	if p.changes[i] == fresh {
		n.fresh++
		return
	}
	e := p.mem.get(m.Name())
	switch respecified := e.Spec != p.targets[i].SpecHash && p.targets[i].Problem == ""; p.changes[i] {
	case moved:
		n.proved++
	case differs:
		n.proved++
		if respecified && slices.Equal(e.Revisions, p.targets[i].Revisions) {
			n.spec++
		} else {
			n.revision++
		}
	case undecided:
		if respecified {
			n.respecified++
		}
		if m.Live == nil || m.terminating() || m.running() || m.Invalid != "" || m.unreadable() {
			n.mute++ // it cannot tell before long; others can
		} else {
			n.open++
		}
	}
}

// pins are the revisions that a running rollout keeps although newer ones
// exist (onNewTarget: Queue); nil when there are none.
func (p *planner) pins() map[v1alpha1.RolloutSource]string {
	if p.rolling.OnNewTarget != "Queue" || !p.active() || p.before.Target == nil || p.before.Halt != nil || p.mem.Mode != "" {
		return nil
	}
	for _, s := range p.before.Steps {
		if s.Failed > 0 || (s.Index == p.before.CurrentStep && s.Limit == 0) {
			return nil // a rollout that fails, or waits for people to sync, is superseded
		}
	}
	for i := range p.Members {
		m := &p.Members[i]
		if m.Class != Manual || p.driven(m) || !p.takesPart(m) {
			continue
		}
		if e := p.mem.get(m.Name()); e != nil && e.Status == Waiting && e.Step == int(p.before.CurrentStep) {
			return nil
		}
	}
	return p.stored()
}

func (p *planner) pinned(m *Member, t Target, pins map[v1alpha1.RolloutSource]string) Target {
	for j, src := range m.Rendered.Spec.GetSources() {
		pin := pins[v1alpha1.RolloutSource{RepoURL: src.RepoURL, Chart: src.Chart, TargetRevision: src.TargetRevision}]
		if j >= len(t.Revisions) || pin == "" || pin == t.Revisions[j] {
			continue
		}
		p.queue(v1alpha1.RolloutSource{RepoURL: src.RepoURL, Chart: src.Chart, TargetRevision: src.TargetRevision, Revision: t.Revisions[j]})
		t.Revisions = slices.Clone(t.Revisions)
		t.Revisions[j], t.Digest = pin, ""
	}
	return t
}

func (p *planner) queue(s v1alpha1.RolloutSource) {
	if p.queued == nil {
		p.queued = &v1alpha1.RolloutTarget{}
	}
	if !slices.Contains(p.queued.Sources, s) {
		p.queued.Sources = append(p.queued.Sources, s)
	}
}

// begin starts the next rollout: every member is classified anew, the steps
// start over and keep only what they proved for what their members run.
func (p *planner) begin(trigger string) {
	if p.active() && p.mem.Needed {
		p.event(false, "RolloutSuperseded", fmt.Sprintf("rollout %d is superseded by rollout %d", p.before.ID, p.before.ID+1))
	}
	p.id, p.trigger, p.restart, p.hold = p.before.ID+1, trigger, true, false
	for i := range p.mem.Steps {
		s := &p.mem.Steps[i]
		*s = stepMemory{Key: s.Key, Inherit: p.before.ID == 0 || s.Passed || (s.Inherit && !s.Touched)}
	}
	p.mem.Mode, p.mem.Sticky, p.mem.StickyStep, p.mem.Needed, p.mem.Stalled = "", "", "", false, false
	p.mem.Progress = p.Now.Unix()
	if slices.Contains(p.before.RejectedTargets, p.fingerprint()) {
		p.mem.Mode = modeRolledBack
	}
}

// fingerprint names the target of the whole set: template and revisions.
func (p *planner) fingerprint() string {
	h := sha256.New()
	template, err := json.Marshal(p.Set.Spec.Template)
	if err != nil {
		template = []byte(err.Error())
	}
	_, _ = h.Write(template) // never fails
	var lines []string
	for _, s := range p.sources().Sources {
		lines = append(lines, strings.Join([]string{s.RepoURL, s.Chart, s.TargetRevision, s.Revision}, "\x00"))
	}
	slices.Sort(lines)
	_, _ = h.Write([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// sources lists the distinct sources with the revisions they are pinned to.
func (p *planner) sources() *v1alpha1.RolloutTarget {
	t := &v1alpha1.RolloutTarget{}
	seen := map[v1alpha1.RolloutSource]bool{}
	var last v1alpha1.RolloutSource
	for i := range p.Members {
		m := &p.Members[i]
		if !p.takesPart(m) {
			continue
		}
		add := func(j int, src *v1alpha1.ApplicationSource) {
			if j >= len(p.targets[i].Revisions) {
				return // not resolved
			}
			s := v1alpha1.RolloutSource{RepoURL: src.RepoURL, Chart: src.Chart, TargetRevision: src.TargetRevision, Revision: p.targets[i].Revisions[j]}
			if s == last || seen[s] {
				return
			}
			seen[s], last = true, s
			t.Sources = append(t.Sources, s)
		}
		if len(m.Rendered.Spec.Sources) == 0 && m.Rendered.Spec.Source != nil {
			add(0, m.Rendered.Spec.Source)
		}
		for j := range m.Rendered.Spec.Sources {
			add(j, &m.Rendered.Spec.Sources[j])
		}
	}
	return t
}
