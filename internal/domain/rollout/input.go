package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Target is what an Application should run.
type Target struct {
	// SpecHash digests the rendered spec without automated.enabled.
	SpecHash string
	// Revisions are the resolved revisions in the order of the sources.
	Revisions []string
	// Digest of the objects rendered at Revisions, as the Application would
	// report it in status.sync.digest; empty when it is not known yet.
	Digest string
	// Problem says why the revisions are not known; then they are not.
	Problem string
}

func (t Target) equal(o Target) bool {
	return t.SpecHash == o.SpecHash && slices.Equal(t.Revisions, o.Revisions)
}

// Closure says whether a time window is closed and until when; zero Until is
// not known.
type Closure struct {
	Closed bool
	Until  time.Time
}

// Member is a generated Application with everything that is known about it.
type Member struct {
	Rendered *v1alpha1.Application
	// Live is nil when the Application does not exist.
	Live  *v1alpha1.Application
	Class Class
	// Step is 1-based; Unmatched ones have the step after the last when they
	// come after all others, 0 otherwise.
	Step int
	// Invalid says why the Application cannot be written.
	Invalid string
	Target  Target
	// Sent is the id of an operation that the caller has written and does not
	// see on Live yet. Such an operation counts as running.
	Sent string
	// Window is closed while the project's sync windows forbid automatic syncs.
	Window Closure
}

// Name of the Application.
func (m *Member) Name() string { return m.Rendered.Name }

// Input is everything Next decides on.
type Input struct {
	// Set carries spec, annotations and, in its status, the record.
	Set *v1alpha1.ApplicationSet
	// Members in name order.
	Members []Member
	Now     time.Time
	// Watched is since when the caller has been observing without a gap: time
	// before it counts for no bake. Zero is always.
	Watched time.Time
	// Windows holds the answer of the strategy's windows for each step at Now.
	// Nil says that nobody evaluates windows; a strategy that has some is then
	// refused, never ignored.
	Windows []Closure
	// Refused says what the caller found wrong with the strategy: a schedule
	// that cannot be read, an analysis address that is not allowed.
	Refused string
	// Measures says that the caller can measure metrics; without it a strategy
	// with an analysis is refused, never ignored.
	Measures bool
	// Measured are answers to Decision.Measurements.
	Measured []Measured
	// Actors says who set an annotation of the ApplicationSet, by its key.
	Actors map[string]string
}

// Kind says why an operation is requested.
type Kind string

// Kinds of operations.
const (
	KindSync     Kind = "Sync"
	KindSelfHeal Kind = "SelfHeal"
	KindRollback Kind = "Rollback"
)

// Operation is a sync to request, once, under its id.
type Operation struct {
	Application string
	ID          string
	Kind        Kind
	// Revisions in the order of the sources.
	Revisions []string
	// List says that the Application has a list of sources, even of one.
	List bool
	// Sources replace those of the spec; nil leaves them.
	Sources []v1alpha1.ApplicationSource
	// Prune as the Application's own policy has it.
	Prune bool
	// Heals counts earlier self-heals in a row.
	Heals int64
}

// Measurement is a metric that is due.
type Measurement struct {
	Rollout int64
	Step    int
	// StepName is the name of the step or its number.
	StepName string
	Metric   v1alpha1.AnalysisMetric
	// Application is set for metrics of scope Application.
	Application string
	// Number counts the answers so far; an answer that repeats another number
	// is dropped.
	Number int32
}

// Outcome of a measurement.
type Outcome string

// Outcomes.
const (
	OutcomeSuccessful   Outcome = "Successful"
	OutcomeFailed       Outcome = "Failed"
	OutcomeInconclusive Outcome = "Inconclusive"
	OutcomeError        Outcome = "Error"
)

// Measured is the answer to a Measurement.
type Measured struct {
	Measurement
	Outcome Outcome
	// Value and Message are shown in the status; they hold no secrets.
	Value, Message string
}

// Event tells people about one occurrence. Application is empty for events of
// the whole set.
type Event struct {
	Warning     bool
	Reason      string
	Message     string
	Application string
}

// Decision is the answer of Next.
type Decision struct {
	// Applications and Rollout are the record to store.
	Applications []v1alpha1.ApplicationSetAppStatus
	Rollout      *v1alpha1.RolloutStatus
	Conditions   []v1alpha1.ApplicationSetCondition
	// Events to emit when, and only when, the record has been stored.
	Events []Event
	// Operations are permitted by the record in Input: store first, act later.
	Operations []Operation
	// Terminate names Applications whose running operation should end.
	Terminate []string
	// Refreshes names Applications to compare anew, once the record is stored.
	Refreshes []string
	// Consume names annotations of the set, with their values, that the stored
	// record has taken in: remove them if they still have that value.
	Consume map[string]string
	// Manual counts the members without automated sync, by step.
	Manual []int
	// Measurements are due now.
	Measurements []Measurement
	// Wake asks to be called again after this time; zero is never.
	Wake time.Duration
}

// OperationInfo is the info item that carries an operation's id.
const OperationInfo = "RolloutOperation"

// OperationID names the attempt of a rollout on one of its Applications.
func OperationID(set *v1alpha1.ApplicationSet, rollout int64, attempt int32) string {
	return fmt.Sprintf("%s%d/%d", operationPrefix(set), rollout, attempt)
}

func operationPrefix(set *v1alpha1.ApplicationSet) string {
	uid := string(set.UID)
	return uid[:min(8, len(uid))] + "/"
}
