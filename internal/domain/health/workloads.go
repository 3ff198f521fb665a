package health

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// stuck are the waiting reasons that a pod does not leave by itself.
var stuck = []string{"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"}

const oomKilled = "OOMKilled"

// failing finds a pod that cannot start among those that current accepts:
// pods of older revisions say nothing about what was deployed last.
func failing(pods []object.Pod, current func(object.Pod) bool) (Status, bool) {
	for _, p := range pods {
		if !current(p) {
			continue
		}
		reason := ""
		switch {
		case slices.Contains(stuck, p.Waiting):
			reason = p.Waiting
		case p.Terminated == oomKilled && !p.Ready:
			reason = p.Terminated
		default:
			continue
		}
		return Status{Degraded, fmt.Sprintf("pod %s: container %q: %s", p.Name, p.Container, reason)}, true
	}
	return Status{}, false
}

func everyPod(object.Pod) bool { return true }

// deployment expects the pods of the current ReplicaSet only.
func deployment(o *unstructured.Unstructured, pods []object.Pod) Status {
	if truth(o, "spec", "paused") {
		return Status{Suspended, "Deployment is paused"}
	}
	if lagging(o) {
		return Status{Progressing, "Waiting for rollout to finish: observed deployment generation less than desired generation"}
	}
	if s, bad := failing(pods, everyPod); bad {
		return s
	}
	if condition(o, "Progressing").reason == "ProgressDeadlineExceeded" {
		return Status{Degraded, fmt.Sprintf("Deployment %q exceeded its progress deadline", o.GetName())}
	}
	want, updated := num(o, 1, "spec", "replicas"), num(o, 0, "status", "updatedReplicas")
	all, available := num(o, 0, "status", "replicas"), num(o, 0, "status", "availableReplicas")
	switch {
	case updated < want:
		return Status{Progressing, fmt.Sprintf("Waiting for rollout to finish: %d out of %d new replicas have been updated...", updated, want)}
	case all > updated:
		return Status{Progressing, fmt.Sprintf("Waiting for rollout to finish: %d old replicas are pending termination...", all-updated)}
	case available < updated:
		return Status{Progressing, fmt.Sprintf("Waiting for rollout to finish: %d of %d updated replicas are available...", available, updated)}
	}
	return Status{Code: Healthy}
}

func replicaSet(o *unstructured.Unstructured, _ []object.Pod) Status {
	if lagging(o) {
		return Status{Progressing, "Waiting for rollout to finish: observed replica set generation less than desired generation"}
	}
	if c := condition(o, "ReplicaFailure"); c.status == "True" {
		return Status{Degraded, c.said()}
	}
	want, available := num(o, 1, "spec", "replicas"), num(o, 0, "status", "availableReplicas")
	if available < want {
		return Status{Progressing, fmt.Sprintf("Waiting for rollout to finish: %d out of %d new replicas are available...", available, want)}
	}
	return Status{Code: Healthy}
}

func statefulSet(o *unstructured.Unstructured, pods []object.Pod) Status {
	if num(o, 0, "status", "observedGeneration") == 0 || lagging(o) {
		return Status{Progressing, "Waiting for statefulset spec update to be observed..."}
	}
	target := text(o, "status", "updateRevision")
	if s, bad := failing(pods, func(p object.Pod) bool { return target == "" || p.Revision == target }); bad {
		return s
	}
	want, updated := num(o, 1, "spec", "replicas"), num(o, 0, "status", "updatedReplicas")
	if ready := num(o, 0, "status", "readyReplicas"); ready < want {
		return Status{Progressing, fmt.Sprintf("Waiting for %d pods to be ready...", want-ready)}
	}
	strategy := text(o, "spec", "updateStrategy", "type")
	if rolling, ok := at(o.Object, "spec", "updateStrategy", "rollingUpdate").(map[string]any); ok && strategy == "RollingUpdate" {
		partition := number(rolling["partition"], -1)
		if partition >= 0 && updated < want-partition {
			return Status{Progressing, fmt.Sprintf("Waiting for partitioned roll out to finish: %d out of %d new pods have been updated...", updated, want-partition)}
		}
		return Status{Healthy, fmt.Sprintf("partitioned roll out complete: %d new pods have been updated...", updated)}
	}
	if strategy == "OnDelete" {
		return Status{Healthy, fmt.Sprintf("statefulset has %d ready pods", num(o, 0, "status", "readyReplicas"))}
	}
	if target != text(o, "status", "currentRevision") {
		return Status{Progressing, fmt.Sprintf("waiting for statefulset rolling update to complete %d pods at revision %s...", updated, target)}
	}
	return Status{Healthy, fmt.Sprintf("statefulset rolling update complete %d pods at revision %s...", num(o, 0, "status", "currentReplicas"), target)}
}

// templateGeneration is the annotation by which the API server counts the
// templates of a DaemonSet; its pods carry the count as a label.
const templateGeneration = "deprecated.daemonset.template.generation"

func daemonSet(o *unstructured.Unstructured, pods []object.Pod) Status {
	if lagging(o) {
		return Status{Progressing, "Waiting for rollout to finish: observed daemon set generation less than desired generation"}
	}
	current := o.GetAnnotations()[templateGeneration]
	if s, bad := failing(pods, func(p object.Pod) bool {
		return current == "" || p.TemplateGeneration == "" || p.TemplateGeneration == current
	}); bad {
		return s
	}
	want, updated := num(o, 0, "status", "desiredNumberScheduled"), num(o, 0, "status", "updatedNumberScheduled")
	if text(o, "spec", "updateStrategy", "type") == "OnDelete" {
		return Status{Healthy, fmt.Sprintf("daemon set %d out of %d new pods have been updated", updated, want)}
	}
	if updated < want {
		return Status{Progressing, fmt.Sprintf("Waiting for daemon set %q rollout to finish: %d out of %d new pods have been updated...", o.GetName(), updated, want)}
	}
	if available := num(o, 0, "status", "numberAvailable"); available < want {
		return Status{Progressing, fmt.Sprintf("Waiting for daemon set %q rollout to finish: %d of %d updated pods are available...", o.GetName(), available, want)}
	}
	return Status{Code: Healthy}
}
