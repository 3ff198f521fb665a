package v1alpha1

// Labels with a meaning.
const (
	LabelSecretType         = "argocd.argoproj.io/secret-type"
	LabelApplicationSetName = "applicationset-name"
	LabelInstance           = "app.kubernetes.io/instance"
	LabelKubernetesVersion  = "argocd.argoproj.io/kubernetes-version"
)

// Annotations with a meaning.
const (
	AnnotationRefresh          = "argocd.argoproj.io/refresh"
	AnnotationHydrate          = "argocd.argoproj.io/hydrate"
	AnnotationNotified         = "notified.notifications.argoproj.io"
	AnnotationSkipReconcile    = "argocd.argoproj.io/skip-reconcile"
	AnnotationTrackingID       = "argocd.argoproj.io/tracking-id"
	AnnotationInstallationID   = "argocd.argoproj.io/installation-id"
	AnnotationSyncOptions      = "argocd.argoproj.io/sync-options"
	AnnotationCompareOptions   = "argocd.argoproj.io/compare-options"
	AnnotationIgnoreHealth     = "argocd.argoproj.io/ignore-healthcheck"
	AnnotationAppSetRefresh    = "argocd.argoproj.io/application-set-refresh"
	AnnotationDeletionApproved = "argocd.argoproj.io/deletion-approved"
	AnnotationConfirmDeletion  = "argocd.argoproj.io/confirm-deletion"
	AnnotationPauseRollout     = "argocd.argoproj.io/pause-rollout"
	AnnotationPauseReason      = "argocd.argoproj.io/pause-rollout-reason"
	AnnotationPromoteRollout   = "argocd.argoproj.io/promote-rollout"
	AnnotationRetryRollout     = "argocd.argoproj.io/retry-rollout"
	AnnotationAbortRollout     = "argocd.argoproj.io/abort-rollout"
	AnnotationRollbackRollout  = "argocd.argoproj.io/rollback-rollout"
	AnnotationRolloutSkip      = "argocd.argoproj.io/rollout-skip"
	AnnotationRolloutHeldBy    = "argocd.argoproj.io/rollout-held-by"
	AnnotationReleaseHold      = "argocd.argoproj.io/release-hold"
	AnnotationGeneratePaths    = "argocd.argoproj.io/manifest-generate-paths"
)

// JournalName is the ConfigMap of the control plane in which begins of
// operations are stored that their Applications do not show yet.
const JournalName = "sluice-journal"

// RefreshType is the value of the refresh annotation.
type RefreshType string

// The refresh types: normal asks Git again, hard also ignores caches.
const (
	RefreshNormal RefreshType = "normal"
	RefreshHard   RefreshType = "hard"
)

// Finalizers of Applications, ApplicationSets and AppProjects.
const (
	FinalizerResources           = "resources-finalizer.argocd.argoproj.io"
	FinalizerResourcesForeground = "resources-finalizer.argocd.argoproj.io/foreground"
	FinalizerResourcesBackground = "resources-finalizer.argocd.argoproj.io/background"
	FinalizerPreDelete           = "pre-delete-finalizer.argocd.argoproj.io"
	FinalizerPostDelete          = "post-delete-finalizer.argocd.argoproj.io"
)

// SyncStatusCode says whether live state matches Git.
type SyncStatusCode string

// The sync states.
const (
	SyncStatusUnknown   SyncStatusCode = "Unknown"
	SyncStatusSynced    SyncStatusCode = "Synced"
	SyncStatusOutOfSync SyncStatusCode = "OutOfSync"
)

// HealthStatusCode says how well an object or an Application is.
type HealthStatusCode string

// The health states, best to worst.
const (
	HealthHealthy     HealthStatusCode = "Healthy"
	HealthSuspended   HealthStatusCode = "Suspended"
	HealthProgressing HealthStatusCode = "Progressing"
	HealthMissing     HealthStatusCode = "Missing"
	HealthDegraded    HealthStatusCode = "Degraded"
	HealthUnknown     HealthStatusCode = "Unknown"
)

// OperationPhase is where an operation or one of its tasks stands.
type OperationPhase string

// The operation phases; the last three are final.
const (
	OperationRunning     OperationPhase = "Running"
	OperationTerminating OperationPhase = "Terminating"
	OperationSucceeded   OperationPhase = "Succeeded"
	OperationFailed      OperationPhase = "Failed"
	OperationError       OperationPhase = "Error"
)

// Completed says that the phase is final.
func (p OperationPhase) Completed() bool {
	return p == OperationSucceeded || p == OperationFailed || p == OperationError
}

// ResultCode is what became of one object in a sync.
type ResultCode string

// The result codes.
const (
	ResultSynced       ResultCode = "Synced"
	ResultSyncFailed   ResultCode = "SyncFailed"
	ResultPruned       ResultCode = "Pruned"
	ResultPruneSkipped ResultCode = "PruneSkipped"
)

// Condition types of an Application; those that end in Error are errors.
const (
	ConditionDeletionError           = "DeletionError"
	ConditionInvalidSpecError        = "InvalidSpecError"
	ConditionComparisonError         = "ComparisonError"
	ConditionSyncError               = "SyncError"
	ConditionUnknownError            = "UnknownError"
	ConditionSharedResourceWarning   = "SharedResourceWarning"
	ConditionRepeatedResourceWarning = "RepeatedResourceWarning"
	ConditionExcludedResourceWarning = "ExcludedResourceWarning"
	ConditionOrphanedResourceWarning = "OrphanedResourceWarning"
	ConditionRolloutHolderGone       = "RolloutHolderGone"
	ConditionSyncWindowClosed        = "SyncWindowClosed"
	// ConditionOperatorHold (Sluice) says that automated sync is held back, by
	// whom and until when.
	ConditionOperatorHold = "OperatorHold"
	// ConditionComparisonWarning (Sluice) says that a comparison is weaker than
	// it should be, and why.
	ConditionComparisonWarning = "ComparisonWarning"
	// ConditionNestingWarning (Sluice) names a chain of Applications that is too
	// long to follow.
	ConditionNestingWarning = "NestingWarning"
	// ConditionDependencyLoopWarning (Sluice) names Applications that deploy each
	// other.
	ConditionDependencyLoopWarning = "DependencyLoopWarning"
	// ConditionSelfManagedWarning (Sluice) says that an Application deploys itself.
	ConditionSelfManagedWarning = "SelfManagedWarning"
)

// Condition types of an ApplicationSet.
const (
	AppSetErrorOccurred         = "ErrorOccurred"
	AppSetParametersGenerated   = "ParametersGenerated"
	AppSetResourcesUpToDate     = "ResourcesUpToDate"
	AppSetRolloutProgressing    = "RolloutProgressing"
	AppSetRolloutPaused         = "RolloutPaused"
	AppSetRolloutHalted         = "RolloutHalted"
	AppSetRolloutAwaiting       = "RolloutAwaitingApproval"
	AppSetStrategyIgnored       = "RolloutStrategyIgnored"
	AppSetStepSelectorOverlap   = "StepSelectorOverlap"
	AppSetUnmatchedApplications = "UnmatchedApplications"
	AppSetManualSync            = "ManualSyncApplications"
	AppSetDeletionGuarded       = "DeletionGuarded"
	AppSetTemplatedProject      = "TemplatedProject"
)
