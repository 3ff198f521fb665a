package health

import (
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

func service(o *unstructured.Unstructured, _ []object.Pod) Status {
	if text(o, "spec", "type") != "LoadBalancer" {
		return Status{Code: Healthy}
	}
	return ingress(o, nil)
}

func ingress(o *unstructured.Unstructured, _ []object.Pod) Status {
	if len(list(o, "status", "loadBalancer", "ingress")) > 0 {
		return Status{Code: Healthy}
	}
	return Status{Progressing, "waiting for an address"}
}

func claim(o *unstructured.Unstructured, _ []object.Pod) Status {
	switch phase := text(o, "status", "phase"); phase {
	case "Bound":
		return Status{Code: Healthy}
	case "Pending":
		return Status{Progressing, "waiting for a volume"}
	case "Lost":
		return Status{Degraded, "the volume of the claim is lost"}
	default:
		return Status{Unknown, fmt.Sprintf("phase %q", phase)}
	}
}

func disruptionBudget(o *unstructured.Unstructured, _ []object.Pod) Status {
	all := conditions(o)
	for _, c := range all {
		if c.status == "False" && c.reason != "InsufficientPods" {
			return Status{Degraded, first(c.message, "PodDisruptionBudget has "+c.reason)}
		}
	}
	if len(all) == 0 {
		return Status{Progressing, "Waiting for the status of the PodDisruptionBudget"}
	}
	return Status{Code: Healthy}
}

func apiService(o *unstructured.Unstructured, _ []object.Pod) Status {
	c := condition(o, "Available")
	switch c.status {
	case "True":
		return Status{Healthy, c.said()}
	case "":
		return Status{Progressing, "Waiting to be processed"}
	}
	return Status{Progressing, c.said()}
}

func definition(o *unstructured.Unstructured, _ []object.Pod) Status {
	established, names := condition(o, "Established"), condition(o, "NamesAccepted")
	structure, ending := condition(o, "NonStructuralSchema"), condition(o, "Terminating")
	switch {
	case len(conditions(o)) == 0:
		return Status{Progressing, "Waiting for the status of the CustomResourceDefinition"}
	case ending.status == "True":
		return Status{Progressing, first(ending.message, "CustomResourceDefinition is terminating")}
	case established.status != "True" && established.reason == "Installing":
		return Status{Progressing, first(established.message, "CustomResourceDefinition is being installed")}
	case names.status == "False":
		return Status{Degraded, first(names.said(), "names are not accepted")}
	case structure.status == "True":
		return Status{Degraded, first(structure.said(), "the schema is not structural")}
	case established.status != "True":
		return Status{Degraded, first(established.said(), "CustomResourceDefinition is not established")}
	}
	return Status{Code: Healthy}
}

func snapshot(o *unstructured.Unstructured, _ []object.Pod) Status {
	if truth(o, "status", "readyToUse") {
		return Status{Code: Healthy}
	}
	if fault, ok := at(o.Object, "status", "error").(map[string]any); ok {
		return Status{Degraded, inner(fault, "message")}
	}
	return Status{Progressing, "Waiting for the snapshot to be ready"}
}

// hopeless are reasons for which an autoscaler needs a person.
var hopeless = []string{"FailedGetScale", "FailedUpdateScale", "InvalidSelector"}

// blind are reasons for which an autoscaler lacks figures; what it keeps
// running meanwhile is as good as its bounds say.
var blind = []string{
	"FailedGetResourceMetric", "FailedGetContainerResourceMetric", "FailedGetObjectMetric", "FailedGetPodsMetric",
	"FailedGetExternalMetric", "FailedComputeMetricsReplicas",
}

// autoscaler is Healthy within its bounds: a missing metrics server must not
// stop a wave (an addition of ours in spec/diff-health.md §9.4).
func autoscaler(o *unstructured.Unstructured, _ []object.Pod) Status {
	message := ""
	for _, c := range scalingConditions(o) {
		if slices.Contains(hopeless, c.reason) {
			return Status{Degraded, c.said()}
		}
		if slices.Contains(blind, c.reason) && message == "" {
			message = c.said()
		}
	}
	if at(o.Object, "status") == nil {
		return Status{Progressing, "Waiting to Autoscale"}
	}
	low, high, now := num(o, 1, "spec", "minReplicas"), num(o, 0, "spec", "maxReplicas"), num(o, 0, "status", "currentReplicas")
	if low <= now && now <= high {
		return Status{Healthy, message}
	}
	return Status{Progressing, first(message, fmt.Sprintf("Waiting to Autoscale: %d replicas, wanted %d to %d", now, low, high))}
}

// scalingConditions reads conditions of either API version; v1 keeps them as
// JSON in an annotation.
func scalingConditions(o *unstructured.Unstructured) []cond {
	if o.GroupVersionKind().Version != "v1" {
		return conditions(o)
	}
	var stored []struct{ Type, Status, Reason, Message string }
	if err := json.Unmarshal([]byte(o.GetAnnotations()["autoscaling.alpha.kubernetes.io/conditions"]), &stored); err != nil {
		return nil
	}
	out := make([]cond, len(stored))
	for i, c := range stored {
		out[i] = cond{c.Type, c.Status, c.Reason, c.Message}
	}
	return out
}
