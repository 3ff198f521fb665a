package health

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

func workflow(o *unstructured.Unstructured, _ []object.Pod) Status {
	message := text(o, "status", "message")
	switch text(o, "status", "phase") {
	case "", "Pending", "Running":
		return Status{Progressing, message}
	case "Succeeded":
		return Status{Healthy, message}
	case "Failed", "Error":
		return Status{Degraded, message}
	}
	return Status{Unknown, message}
}

// analysis judges AnalysisRun and Experiment.
func analysis(o *unstructured.Unstructured, _ []object.Pod) Status {
	message := text(o, "status", "message")
	switch text(o, "status", "phase") {
	case "", "Pending", "Running":
		return Status{Progressing, message}
	case "Successful":
		return Status{Healthy, message}
	case "Failed", "Error":
		return Status{Degraded, message}
	}
	return Status{Unknown, message}
}

func applicationSet(o *unstructured.Unstructured, _ []object.Pod) Status {
	fault, fresh, rolling := condition(o, "ErrorOccurred"), condition(o, "ResourcesUpToDate"), condition(o, "RolloutProgressing")
	switch {
	case fault.status == "True":
		return Status{Degraded, fault.said()}
	case fresh.status == "False":
		return Status{Degraded, fresh.said()}
	case rolling.status == "True":
		return Status{Progressing, rolling.said()}
	case fresh.status == "True":
		return Status{Healthy, fresh.said()}
	}
	return Status{Progressing, "Waiting for the status of the ApplicationSet"}
}

// workloadGeneration is the annotation with the generation of the workload
// that a Rollout refers to.
const workloadGeneration = "rollout.argoproj.io/workload-generation"

// rollout trusts status.phase once the newest generation has been observed;
// controllers before v1.0 write no phase.
func rollout(o *unstructured.Unstructured, _ []object.Pod) Status {
	if status, _ := at(o.Object, "status").(map[string]any); len(status) == 0 {
		return Status{Progressing, "Waiting for the status of the Rollout"}
	}
	if behind(text(o, "status", "observedGeneration"), o.GetGeneration()) {
		return Status{Progressing, "Waiting for rollout spec update to be observed"}
	}
	if want, err := strconv.ParseInt(o.GetAnnotations()[workloadGeneration], 10, 64); err == nil &&
		behind(first(text(o, "status", "workloadObservedGeneration"), "0"), want) {
		return Status{Progressing, "Waiting for the change of the referenced workload to be observed"}
	}
	message := text(o, "status", "message")
	switch phase := text(o, "status", "phase"); phase {
	case "":
		return legacyRollout(o)
	case "Paused":
		return Status{Suspended, message}
	case "Healthy":
		return Status{Healthy, message}
	case "Degraded":
		return Status{Degraded, message}
	case "Progressing":
		return Status{Progressing, message}
	default:
		return Status{Unknown, first(message, fmt.Sprintf("phase %q", phase))}
	}
}

// behind compares an observed generation, written as text, with the wanted
// one; old controllers wrote a hash, which cannot be compared.
func behind(observed string, want int64) bool {
	if observed == "" {
		return false
	}
	n, err := strconv.ParseInt(observed, 10, 64)
	return err == nil && n != want
}

// legacyRollout judges a Rollout without status.phase.
func legacyRollout(o *unstructured.Unstructured) Status {
	if c := condition(o, "InvalidSpec"); c.kind != "" {
		return Status{Degraded, c.said()}
	}
	moving := condition(o, "Progressing")
	if truth(o, "status", "abort") || moving.reason == "RolloutAborted" {
		return Status{Degraded, first(moving.message, "Rollout is aborted")}
	}
	if moving.reason == "ProgressDeadlineExceeded" {
		return Status{Degraded, first(moving.message, "Rollout exceeded its progress deadline")}
	}
	if truth(o, "spec", "paused") || len(list(o, "status", "pauseConditions")) > 0 {
		return Status{Suspended, "Rollout is paused"}
	}
	want, updated := num(o, 1, "spec", "replicas"), num(o, 0, "status", "updatedReplicas")
	all, available := num(o, 0, "status", "replicas"), num(o, 0, "status", "availableReplicas")
	hash := text(o, "status", "currentPodHash")
	_, blueGreen := at(o.Object, "spec", "strategy", "blueGreen").(map[string]any)
	stable := first(text(o, "status", "stableRS"), text(o, "status", "canary", "stableRS"))
	switch {
	case updated < want:
		return Status{Progressing, fmt.Sprintf("Waiting for roll out to finish: %d out of %d new replicas have been updated...", updated, want)}
	case !blueGreen && all > updated:
		return Status{Progressing, fmt.Sprintf("Waiting for roll out to finish: %d old replicas are pending termination...", all-updated)}
	case available < updated:
		return Status{Progressing, fmt.Sprintf("Waiting for roll out to finish: %d of %d updated replicas are available...", available, updated)}
	case blueGreen && text(o, "status", "blueGreen", "activeSelector") != hash:
		return Status{Progressing, "Waiting for the active service to cut over"}
	case !blueGreen && stable != "" && stable != hash:
		return Status{Progressing, "Waiting for the new ReplicaSet to become stable"}
	}
	return Status{Code: Healthy}
}
