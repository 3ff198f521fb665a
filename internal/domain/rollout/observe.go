package rollout

import (
	"reflect"
	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Target is what an Application should run.
type Target struct {
	// SpecHash digests the rendered spec without automated.enabled.
	SpecHash string
	// Revisions are the resolved revisions in the order of the sources.
	Revisions []string
	// Problem says why the revisions are not known; then they are not.
	Problem string
}

func (t Target) equal(o Target) bool {
	return t.SpecHash == o.SpecHash && slices.Equal(t.Revisions, o.Revisions)
}

// Member is a generated Application with everything that is known about it.
type Member struct {
	Rendered *v1alpha1.Application
	// Live is nil when the Application does not exist.
	Live  *v1alpha1.Application
	Class Class
	Step  int
	// Invalid says why the Application cannot be written.
	Invalid string
	Target  Target
}

// Name of the Application.
func (m Member) Name() string { return m.Rendered.Name }

// Observation is what a member's status proves about its target.
type Observation string

// Observations of spec §6.5.
const (
	// Current: it runs the target.
	Current Observation = "Current"
	// Outdated: it was compared with the target and differs.
	Outdated Observation = "Outdated"
	// Failing: comparing it with the target fails.
	Failing Observation = "Error"
	// NotKnown: its status says nothing about the target.
	NotKnown Observation = "Unknown"
)

// running says that an operation is requested or under way.
func (m Member) running() bool {
	if m.Live == nil {
		return false
	}
	s := m.Live.Status.OperationState
	return m.Live.Operation != nil || (s != nil && !s.Phase.Completed())
}

// fresh says that the comparison followed the last finished operation.
func (m Member) fresh() bool {
	s := m.Live.Status.OperationState
	return s == nil || s.ID == m.Live.Status.Sync.AfterOperation
}

// healthy says that fresh evidence shows good health.
func (m Member) healthy() bool {
	return m.Live != nil && m.fresh() && m.Live.Status.Health.Status == v1alpha1.HealthHealthy
}

// observe classifies a member without comparing clocks.
func (m Member) observe() Observation {
	if m.Live == nil || m.Live.DeletionTimestamp != nil || m.Target.Problem != "" || m.running() || !m.fresh() {
		return NotKnown
	}
	s := m.Live.Status
	if m.compared() {
		switch {
		case s.Sync.Status == v1alpha1.SyncStatusSynced:
			return Current
		case s.Sync.Status == v1alpha1.SyncStatusOutOfSync && m.synced():
			return Current // differences remain after a complete sync: a warning, no further sync
		case s.Sync.Status == v1alpha1.SyncStatusOutOfSync:
			return Outdated
		}
	}
	for _, c := range s.Conditions {
		if c.Type == v1alpha1.ConditionComparisonError || c.Type == v1alpha1.ConditionInvalidSpecError {
			return Failing
		}
	}
	return NotKnown
}

// compared says that the sync status was computed against the target.
func (m Member) compared() bool {
	if _, asked := m.Live.Annotations[v1alpha1.AnnotationRefresh]; asked {
		return false
	}
	sync := m.Live.Status.Sync
	got := sync.Revisions
	if len(m.Rendered.Spec.Sources) == 0 {
		got = []string{sync.Revision}
	}
	return slices.Equal(got, m.Target.Revisions) && reflect.DeepEqual(sources(sync.ComparedTo), m.Rendered.Spec.GetSources()) &&
		sync.ComparedTo.Destination == m.Rendered.Spec.Destination
}

func sources(c v1alpha1.ComparedTo) []v1alpha1.ApplicationSource {
	if len(c.Sources) > 0 {
		return c.Sources
	}
	return []v1alpha1.ApplicationSource{c.Source}
}

// synced says that the last operation brought everything of the target.
func (m Member) synced() bool {
	state := m.Live.Status.OperationState
	if state == nil || state.Phase != v1alpha1.OperationSucceeded || state.SyncResult == nil {
		return false
	}
	op := state.Operation.Sync
	if op == nil || op.DryRun || len(op.Resources) > 0 {
		return false
	}
	got := state.SyncResult.Revisions
	if len(got) == 0 {
		got = []string{state.SyncResult.Revision}
	}
	from := state.SyncResult.Sources
	if len(from) == 0 {
		from = []v1alpha1.ApplicationSource{state.SyncResult.Source}
	}
	return slices.Equal(got, m.Target.Revisions) && reflect.DeepEqual(from, m.Rendered.Spec.GetSources())
}

// OperationInfo is the info item that carries an operation's id.
const OperationInfo = "RolloutOperation"

// issued says that the operation with this id is visible on the Application.
func (m Member) issued(id string) bool {
	if m.Live == nil {
		return false
	}
	if s := m.Live.Status.OperationState; s != nil && s.ID == id {
		return true
	}
	if m.Live.Operation == nil {
		return false
	}
	return slices.ContainsFunc(m.Live.Operation.Info, func(i *v1alpha1.Info) bool {
		return i != nil && i.Name == OperationInfo && i.Value == id
	})
}
