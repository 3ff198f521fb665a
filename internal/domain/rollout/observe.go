package rollout

import (
	"hash/fnv"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

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

// running says that an operation is requested or under way, seen or sent.
func (m *Member) running() bool {
	if m.Live == nil {
		return false
	}
	if m.Live.Operation != nil || (m.Sent != "" && !m.issued(m.Sent)) {
		return true
	}
	s := m.Live.Status.OperationState
	return s != nil && !s.Phase.Completed()
}

// ours says that the running operation was requested by a rollout of the set.
func (m *Member) ours(prefix string) bool {
	if m.Sent != "" && !m.issued(m.Sent) {
		return true
	}
	if m.Live.Operation != nil {
		return strings.HasPrefix(operationID(m.Live.Operation), prefix)
	}
	return m.Live.Status.OperationState != nil && strings.HasPrefix(m.Live.Status.OperationState.ID, prefix)
}

func operationID(op *v1alpha1.Operation) string {
	for _, i := range op.Info {
		if i != nil && i.Name == OperationInfo {
			return i.Value
		}
	}
	return ""
}

// issued says that the operation with this id is visible on the Application.
func (m *Member) issued(id string) bool {
	if m.Live == nil {
		return false
	}
	if s := m.Live.Status.OperationState; s != nil && s.ID == id {
		return true
	}
	return m.Live.Operation != nil && operationID(m.Live.Operation) == id
}

// carries says that the operation with this id was written to the Application,
// whether that is visible yet or not.
func (m *Member) carries(id string) bool { return m.Sent == id || m.issued(id) }

// fresh says that the comparison followed the last finished operation.
func (m *Member) fresh() bool {
	s := m.Live.Status.OperationState
	return s == nil || s.ID == m.Live.Status.Sync.AfterOperation
}

// ended is the phase of the last operation when it is over.
func (m *Member) ended() v1alpha1.OperationPhase {
	if m.Live == nil || m.running() || m.Live.Status.OperationState == nil {
		return ""
	}
	return m.Live.Status.OperationState.Phase
}

// healthy says that fresh evidence shows good health.
func (m *Member) healthy() bool {
	return m.Live != nil && m.fresh() && m.Live.Status.Health.Status == v1alpha1.HealthHealthy
}

// sick says that fresh evidence shows bad health, not merely unfinished.
func (m *Member) sick() bool {
	if m.Live == nil || !m.fresh() {
		return false
	}
	h := m.Live.Status.Health.Status
	return h == v1alpha1.HealthDegraded || h == v1alpha1.HealthMissing
}

// terminating says that somebody deletes the Application.
func (m *Member) terminating() bool { return m.Live != nil && m.Live.DeletionTimestamp != nil }

// settled says that the status may be read as evidence: nothing runs, no
// refresh is due, and the comparison followed the last operation.
func (m *Member) settled() bool {
	if m.Live == nil || m.terminating() || m.running() || !m.fresh() {
		return false
	}
	_, asked := m.Live.Annotations[v1alpha1.AnnotationRefresh]
	return !asked
}

// placed says that the comparison was of the rendered sources on the rendered
// destination.
func (m *Member) placed() bool {
	c := &m.Live.Status.Sync.ComparedTo
	if c.Destination != m.Rendered.Spec.Destination {
		return false
	}
	if len(m.Rendered.Spec.Sources) > 0 {
		return slices.EqualFunc(c.Sources, m.Rendered.Spec.Sources, sameSource)
	}
	return m.Rendered.Spec.Source != nil && len(c.Sources) == 0 && sameSource(c.Source, *m.Rendered.Spec.Source)
}

// sameSource is reflect.DeepEqual with a quick answer for plain sources.
func sameSource(a, b v1alpha1.ApplicationSource) bool {
	if a.RepoURL != b.RepoURL || a.Path != b.Path || a.TargetRevision != b.TargetRevision || a.Chart != b.Chart || a.Ref != b.Ref {
		return false
	}
	if a.Helm == nil && b.Helm == nil && a.Kustomize == nil && b.Kustomize == nil && a.Directory == nil && b.Directory == nil && a.Plugin == nil && b.Plugin == nil {
		return a.Name == b.Name && a.TagPrefix == b.TagPrefix
	}
	return reflect.DeepEqual(a, b)
}

// at says that the comparison was made at these revisions.
func (m *Member) at(revisions []string) bool {
	s := &m.Live.Status.Sync
	if len(m.Rendered.Spec.Sources) > 0 {
		return slices.Equal(s.Revisions, revisions)
	}
	return len(revisions) == 1 && s.Revision == revisions[0]
}

// unresolved says that the comparison found no revision at all.
func (m *Member) unresolved() bool {
	return m.Live.Status.Sync.Revision == "" && len(m.Live.Status.Sync.Revisions) == 0
}

// key digests what was compared: the rendered objects and where they go. Equal
// keys are equal targets; an empty key is not known.
func (m *Member) key(digest string) string {
	if digest == "" {
		return ""
	}
	d := m.Rendered.Spec.Destination
	h := fnv.New32a()
	for _, s := range []string{d.Server, d.Name, d.Namespace} {
		_, _ = h.Write([]byte(s)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return digest[max(0, len(digest)-16):] + strconv.FormatUint(uint64(h.Sum32()), 36)
}

// reported is the key of the last comparison.
func (m *Member) reported() string { return m.key(m.Live.Status.Sync.Digest) }

// synced says that the last operation brought everything of the target.
func (m *Member) synced(t Target) bool {
	state := m.Live.Status.OperationState
	if state == nil || state.Phase != v1alpha1.OperationSucceeded || state.SyncResult == nil {
		return false
	}
	op := state.Operation.Sync
	if op == nil || op.DryRun || len(op.Resources) > 0 {
		return false
	}
	r := state.SyncResult
	if len(m.Rendered.Spec.Sources) > 0 {
		return slices.Equal(r.Revisions, t.Revisions) && slices.EqualFunc(r.Sources, m.Rendered.Spec.Sources, sameSource)
	}
	return len(t.Revisions) == 1 && r.Revision == t.Revisions[0] && len(r.Sources) == 0 && m.Rendered.Spec.Source != nil && sameSource(r.Source, *m.Rendered.Spec.Source)
}

// liveState begins the message of a comparison that failed because the cluster
// did not answer: that says nothing about the target.
const liveState = "Failed to load live state"

// broken says that the last comparison failed because of its target.
func (m *Member) broken() bool {
	for i := range m.Live.Status.Conditions {
		c := &m.Live.Status.Conditions[i]
		switch c.Type {
		case v1alpha1.ConditionComparisonError, v1alpha1.ConditionInvalidSpecError, v1alpha1.ConditionUnknownError:
			if !strings.HasPrefix(c.Message, liveState) {
				return true
			}
		}
	}
	return false
}

// unreadable says that the last comparison gave no answer: manifests that
// cannot be rendered, or a cluster that cannot be reached.
func (m *Member) unreadable() bool {
	s := m.Live.Status.Sync.Status
	return s != v1alpha1.SyncStatusSynced && s != v1alpha1.SyncStatusOutOfSync
}

// observe classifies a member against a target, without comparing clocks. The
// key is that of the target, if it is known. With ahead, the heads of the
// sources may have moved beyond the target (onNewTarget: Queue): then a
// comparison with something newer counts as Outdated, because a sync without
// effect is harmless.
func (m *Member) observe(t Target, key string, ahead bool) Observation {
	if t.Problem != "" || !m.settled() || !m.placed() {
		return NotKnown
	}
	s := &m.Live.Status.Sync
	exact := m.at(t.Revisions) || (key != "" && m.reported() == key)
	known := s.Status == v1alpha1.SyncStatusSynced || s.Status == v1alpha1.SyncStatusOutOfSync
	switch {
	case known && m.synced(t) && (exact || ahead):
		return Current
	case exact && s.Status == v1alpha1.SyncStatusSynced:
		return Current
	case known && (exact || ahead):
		return Outdated
	case (exact || m.unresolved()) && m.broken():
		return Failing
	}
	return NotKnown
}
