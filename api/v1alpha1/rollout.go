package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ApplicationSetStrategy says how a change reaches the Applications.
type ApplicationSetStrategy struct {
	// Type is AllAtOnce (default) or RollingSync; others are ignored with a
	// condition.
	Type        string       `json:"type,omitempty"`
	RollingSync *RollingSync `json:"rollingSync,omitempty"`
	// DeletionOrder is AllAtOnce (default) or Reverse.
	DeletionOrder string `json:"deletionOrder,omitempty"`
}

// RollingSync lets a change reach the fleet step by step. All fields but
// Steps are additions of Sluice.
type RollingSync struct {
	Steps  []RolloutStep `json:"steps,omitempty"`
	Paused bool          `json:"paused,omitempty"`
	DryRun bool          `json:"dryRun,omitempty"`
	// +kubebuilder:validation:Enum=Batch;Sliding
	Batching string `json:"batching,omitempty"`
	// +kubebuilder:validation:Enum=Restart;Queue
	OnNewTarget string `json:"onNewTarget,omitempty"`
	// +kubebuilder:validation:Enum=Wait;Skip;Sync
	ManualSyncPolicy string `json:"manualSyncPolicy,omitempty"`
	// +kubebuilder:validation:Enum=SyncImmediately;AfterLastStep;Hold
	UnmatchedPolicy string `json:"unmatchedPolicy,omitempty"`
	// +kubebuilder:validation:Enum=Ignore;Warn;Halt
	CompletedStepRegression string `json:"completedStepRegression,omitempty"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	FailureGracePeriod string          `json:"failureGracePeriod,omitempty"`
	Defaults           *StepDefaults   `json:"defaults,omitempty"`
	Windows            []RolloutWindow `json:"windows,omitempty"`
	// +kubebuilder:validation:Minimum=0
	HistoryLimit *int32 `json:"historyLimit,omitempty"`
}

// RolloutStep selects Applications and bounds how many change at a time.
type RolloutStep struct {
	MatchExpressions []StepMatchExpression `json:"matchExpressions,omitempty"`
	MaxUpdate        *intstr.IntOrString   `json:"maxUpdate,omitempty"`
	// Name and the fields below are additions of Sluice.
	Name         string `json:"name,omitempty"`
	StepDefaults `json:",inline"`
	Analysis     *StepAnalysis `json:"analysis,omitempty"`
}

// StepDefaults are the settings that a step may inherit.
type StepDefaults struct {
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	StepTimeout string `json:"stepTimeout,omitempty"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	ApplicationTimeout string `json:"applicationTimeout,omitempty"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	BakeTime string `json:"bakeTime,omitempty"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	BatchBakeTime string `json:"batchBakeTime,omitempty"`
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+%?$`
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`
	// +kubebuilder:validation:Enum=Halt;Rollback;Continue
	OnFailure string `json:"onFailure,omitempty"`
	// +kubebuilder:validation:Enum=None;Before;After
	Approval string `json:"approval,omitempty"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	ApprovalTimeout string `json:"approvalTimeout,omitempty"`
}

// StepMatchExpression selects Applications by label: In, NotIn, Exists or
// DoesNotExist.
type StepMatchExpression struct {
	Key      string   `json:"key,omitempty"`
	Operator string   `json:"operator,omitempty"`
	Values   []string `json:"values,omitempty"`
}

// RolloutWindow opens or closes a rollout at certain times.
type RolloutWindow struct {
	// +kubebuilder:validation:Enum=allow;deny
	Kind     string `json:"kind"`
	Schedule string `json:"schedule"`
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	Duration    string   `json:"duration"`
	TimeZone    string   `json:"timeZone,omitempty"`
	Steps       []string `json:"steps,omitempty"`
	Description string   `json:"description,omitempty"`
}

// StepAnalysis judges a step by metrics.
type StepAnalysis struct {
	// +kubebuilder:validation:Enum=AfterHealthy;DuringBake
	When    string           `json:"when,omitempty"`
	Metrics []AnalysisMetric `json:"metrics,omitempty"`
}

// AnalysisMetric is one measurement and how it is judged.
type AnalysisMetric struct {
	Name string `json:"name"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	Interval string `json:"interval,omitempty"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	InitialDelay string `json:"initialDelay,omitempty"`
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Count *intstr.IntOrString `json:"count,omitempty"`
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	FailureLimit *intstr.IntOrString `json:"failureLimit,omitempty"`
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	InconclusiveLimit *intstr.IntOrString `json:"inconclusiveLimit,omitempty"`
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	ConsecutiveErrorLimit *intstr.IntOrString `json:"consecutiveErrorLimit,omitempty"`
	SuccessCondition      string              `json:"successCondition,omitempty"`
	FailureCondition      string              `json:"failureCondition,omitempty"`
	// +kubebuilder:validation:Enum=Step;Application
	Scope    string           `json:"scope,omitempty"`
	Provider AnalysisProvider `json:"provider"`
}

// AnalysisProvider is where a metric is measured.
type AnalysisProvider struct {
	Prometheus *PrometheusProvider `json:"prometheus,omitempty"`
}

// PrometheusProvider is a query to a Prometheus server.
type PrometheusProvider struct {
	Address string `json:"address"`
	Query   string `json:"query"`
	// +kubebuilder:validation:Pattern=`^(|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	Timeout  string           `json:"timeout,omitempty"`
	Insecure bool             `json:"insecure,omitempty"`
	Headers  []AnalysisHeader `json:"headers,omitempty"`
}

// AnalysisHeader is a header of a query; its value may come from a Secret.
type AnalysisHeader struct {
	Key       string     `json:"key"`
	Value     string     `json:"value,omitempty"`
	ValueFrom *SecretRef `json:"valueFrom,omitempty"`
}

// RolloutStatus is the state of a progressive rollout.
type RolloutStatus struct {
	ID                 int64          `json:"id,omitempty"`
	Phase              string         `json:"phase,omitempty"`
	Trigger            string         `json:"trigger,omitempty"`
	StartedAt          *metav1.Time   `json:"startedAt,omitempty"`
	CompletedAt        *metav1.Time   `json:"completedAt,omitempty"`
	ObservedGeneration int64          `json:"observedGeneration,omitempty"`
	Target             *RolloutTarget `json:"target,omitempty"`
	// +optional
	CurrentStep int32               `json:"currentStep"`
	Steps       []RolloutStepStatus `json:"steps,omitempty"`
	Pause       *RolloutPause       `json:"pause,omitempty"`
	Halt        *RolloutHalt        `json:"halt,omitempty"`
	Counts      *RolloutCounts      `json:"counts,omitempty"`
	// RejectedTargets are hashes of targets that were rolled back: they are not
	// tried again by themselves. At most five.
	RejectedTargets []string `json:"rejectedTargets,omitempty"`
	// Queued is what the next rollout will bring, with onNewTarget: Queue.
	Queued  *RolloutTarget   `json:"queued,omitempty"`
	History []RolloutHistory `json:"history,omitempty"`
	// Record is what the planner must remember beyond the fields above:
	// compressed and encoded, not meant for people.
	Record string `json:"record,omitempty"`
}

// RolloutTarget is what the rollout brings to the fleet.
type RolloutTarget struct {
	Sources []RolloutSource `json:"sources,omitempty"`
}

// RolloutSource is a source with the revision it is pinned to.
type RolloutSource struct {
	RepoURL        string `json:"repoURL"`
	Chart          string `json:"chart,omitempty"`
	TargetRevision string `json:"targetRevision,omitempty"`
	Revision       string `json:"revision,omitempty"`
}

// RolloutStepStatus is where one step stands. Counts are there also when they
// are 0.
type RolloutStepStatus struct {
	Index int32  `json:"index"`
	Name  string `json:"name,omitempty"`
	Phase string `json:"phase"`
	Total int32  `json:"total"`
	Limit int32  `json:"limit"`
	// +optional
	Waiting int32 `json:"waiting"`
	// +optional
	Pending int32 `json:"pending"`
	// +optional
	Progressing int32 `json:"progressing"`
	// +optional
	Healthy int32 `json:"healthy"`
	// +optional
	Synced int32 `json:"synced"`
	// +optional
	Failed int32 `json:"failed"`
	// Blocked members need no sync and are not Healthy, or cannot be written.
	// +optional
	Blocked int32 `json:"blocked"`
	// +optional
	Skipped       int32             `json:"skipped"`
	Batch         int32             `json:"batch,omitempty"`
	StartedAt     *metav1.Time      `json:"startedAt,omitempty"`
	HealthySince  *metav1.Time      `json:"healthySince,omitempty"`
	Deadline      *metav1.Time      `json:"deadline,omitempty"`
	CompletedAt   *metav1.Time      `json:"completedAt,omitempty"`
	BakedSeconds  int64             `json:"bakedSeconds,omitempty"`
	PausedSeconds int64             `json:"pausedSeconds,omitempty"`
	Approval      *RolloutApproval  `json:"approval,omitempty"`
	Analysis      []RolloutAnalysis `json:"analysis,omitempty"`
}

// RolloutApproval is a person's word for a step.
type RolloutApproval struct {
	State string       `json:"state,omitempty"`
	By    string       `json:"by,omitempty"`
	At    *metav1.Time `json:"at,omitempty"`
}

// RolloutAnalysis is where one metric of a step stands.
type RolloutAnalysis struct {
	Name string `json:"name"`
	// Application is set for a metric of scope Application.
	Application string `json:"application,omitempty"`
	// Phase is Pending, Running, Successful or Failed.
	Phase        string `json:"phase,omitempty"`
	Successful   int32  `json:"successful,omitempty"`
	Failed       int32  `json:"failed,omitempty"`
	Inconclusive int32  `json:"inconclusive,omitempty"`
	// Errors is how often measuring itself failed, ConsecutiveErrors how often
	// in a row; they do not count as measurements.
	Errors            int32  `json:"errors,omitempty"`
	ConsecutiveErrors int32  `json:"consecutiveErrors,omitempty"`
	Value             string `json:"value,omitempty"`
	Message           string `json:"message,omitempty"`
	// MeasuredAt is the time of the last measurement, failed ones too.
	MeasuredAt *metav1.Time `json:"measuredAt,omitempty"`
}

// RolloutPause says what holds the rollout and since when.
type RolloutPause struct {
	Sources []string     `json:"sources,omitempty"`
	Since   *metav1.Time `json:"since,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Until   *metav1.Time `json:"until,omitempty"`
}

// RolloutHalt says what stopped the rollout.
type RolloutHalt struct {
	Reason       string       `json:"reason"`
	Step         int32        `json:"step,omitempty"`
	Applications []string     `json:"applications,omitempty"`
	Since        *metav1.Time `json:"since,omitempty"`
	Sticky       bool         `json:"sticky,omitempty"`
}

// RolloutCounts counts the Applications by class.
type RolloutCounts struct {
	// +optional
	Managed int32 `json:"managed"`
	// +optional
	Manual int32 `json:"manual"`
	// +optional
	Unmatched int32 `json:"unmatched"`
	// +optional
	Skipped int32 `json:"skipped"`
	// +optional
	Overlapping int32 `json:"overlapping"`
}

// RolloutHistory is a finished rollout.
type RolloutHistory struct {
	ID          int64           `json:"id"`
	Result      string          `json:"result"`
	StartedAt   *metav1.Time    `json:"startedAt,omitempty"`
	CompletedAt *metav1.Time    `json:"completedAt,omitempty"`
	Sources     []RolloutSource `json:"sources,omitempty"`
}
