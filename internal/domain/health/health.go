// Package health judges live objects. Rules are pure functions by kind; they
// follow spec/diff-health.md §9, with the additions marked there as ours.
package health

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Codes of health, best to worst.
const (
	Healthy     = v1alpha1.HealthHealthy
	Suspended   = v1alpha1.HealthSuspended
	Progressing = v1alpha1.HealthProgressing
	Missing     = v1alpha1.HealthMissing
	Degraded    = v1alpha1.HealthDegraded
	Unknown     = v1alpha1.HealthUnknown
)

var ranking = []v1alpha1.HealthStatusCode{Healthy, Suspended, Progressing, Missing, Degraded, Unknown}

// Status is a judgement with words for people.
type Status struct {
	Code    v1alpha1.HealthStatusCode
	Message string
}

// Worse says that a is worse than b.
func Worse(a, b v1alpha1.HealthStatusCode) bool {
	return slices.Index(ranking, a) > slices.Index(ranking, b)
}

// hookFinalizer keeps a finished hook; its real health counts meanwhile.
const hookFinalizer = "argocd.argoproj.io/hook-finalizer"

type rule func(o *unstructured.Unstructured, pods []object.Pod) Status

var rules = map[string]rule{
	"apps/Deployment": deployment, "apps/StatefulSet": statefulSet, "apps/DaemonSet": daemonSet, "apps/ReplicaSet": replicaSet,
	"/Pod": pod, "batch/Job": job, "/Service": service, "networking.k8s.io/Ingress": ingress,
	"/PersistentVolumeClaim": claim, "autoscaling/HorizontalPodAutoscaler": autoscaler,
	"apiregistration.k8s.io/APIService":             conditionTrue("Available"),
	"apiextensions.k8s.io/CustomResourceDefinition": conditionTrue("Established"),
	"argoproj.io/Rollout":                           phased, "argoproj.io/AnalysisRun": phased, "argoproj.io/Workflow": phased,
}

// Assess judges one live object with the records of its pods. known is false
// for kinds without a rule.
func Assess(o *unstructured.Unstructured, pods []object.Pod) (status Status, known bool) {
	if o.GetDeletionTimestamp() != nil && !slices.Contains(o.GetFinalizers(), hookFinalizer) {
		return Status{Progressing, "Pending deletion"}, true
	}
	gvk := o.GroupVersionKind()
	judge, ok := rules[gvk.Group+"/"+gvk.Kind]
	if !ok {
		return Status{}, false
	}
	return judge(o, pods), true
}

func num(o *unstructured.Unstructured, missing int64, path ...string) int64 {
	v, ok, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if !ok || err != nil {
		return missing
	}
	switch n := v.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return missing
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

// condition finds status.conditions[type].
func condition(o *unstructured.Unstructured, name string) (status, reason, message string) {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, item := range list {
		m, ok := item.(map[string]any)
		if ok && m["type"] == name {
			s, _ := m["status"].(string)
			r, _ := m["reason"].(string)
			t, _ := m["message"].(string)
			return s, r, t
		}
	}
	return "", "", ""
}

func conditionTrue(name string) rule {
	return func(o *unstructured.Unstructured, _ []object.Pod) Status {
		if status, _, message := condition(o, name); status != "True" {
			return Status{Progressing, message}
		}
		return Status{Code: Healthy}
	}
}

func lagging(o *unstructured.Unstructured) bool {
	return num(o, 0, "status", "observedGeneration") < o.GetGeneration()
}

// failing finds a pod of the newest revision that cannot start.
func failing(o *unstructured.Unstructured, pods []object.Pod, current string) (Status, bool) {
	for _, p := range pods {
		if current != "" && p.Revision != current {
			continue
		}
		reason := ""
		switch {
		case slices.Contains([]string{"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"}, p.Waiting):
			reason = p.Waiting
		case p.Terminated == "OOMKilled" && !p.Ready:
			reason = p.Terminated
		default:
			continue
		}
		return Status{Degraded, fmt.Sprintf("pod %s: container %q: %s", p.Name, p.Container, reason)}, true
	}
	return Status{}, false
}

func deployment(o *unstructured.Unstructured, pods []object.Pod) Status {
	if paused, _, _ := unstructured.NestedBool(o.Object, "spec", "paused"); paused {
		return Status{Suspended, "Deployment is paused"}
	}
	if lagging(o) {
		return Status{Progressing, "Waiting for rollout to finish: observed deployment generation less than desired generation"}
	}
	if s, bad := failing(o, pods, ""); bad {
		return s
	}
	if _, reason, _ := condition(o, "Progressing"); reason == "ProgressDeadlineExceeded" {
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
	if status, _, message := condition(o, "ReplicaFailure"); status == "True" {
		return Status{Degraded, message}
	}
	if num(o, 0, "status", "availableReplicas") < num(o, 1, "spec", "replicas") {
		return Status{Progressing, "Waiting for replicas to be available"}
	}
	return Status{Code: Healthy}
}

func statefulSet(o *unstructured.Unstructured, pods []object.Pod) Status {
	if num(o, 0, "status", "observedGeneration") == 0 || lagging(o) {
		return Status{Progressing, "Waiting for statefulset spec update to be observed..."}
	}
	if s, bad := failing(o, pods, text(o, "status", "updateRevision")); bad {
		return s
	}
	want := num(o, 1, "spec", "replicas")
	if ready := num(o, 0, "status", "readyReplicas"); ready < want {
		return Status{Progressing, fmt.Sprintf("Waiting for %d pods to be ready...", want-ready)}
	}
	if text(o, "spec", "updateStrategy", "type") == "OnDelete" {
		return Status{Code: Healthy}
	}
	if partition := num(o, 0, "spec", "updateStrategy", "rollingUpdate", "partition"); partition > 0 {
		if num(o, 0, "status", "updatedReplicas") < want-partition {
			return Status{Progressing, "Waiting for partitioned roll out to finish"}
		}
		return Status{Code: Healthy}
	}
	if text(o, "status", "updateRevision") != text(o, "status", "currentRevision") {
		return Status{Progressing, "Waiting for statefulset rolling update to complete"}
	}
	return Status{Code: Healthy}
}

func daemonSet(o *unstructured.Unstructured, pods []object.Pod) Status {
	if lagging(o) {
		return Status{Progressing, "Waiting for rollout to finish: observed daemon set generation less than desired generation"}
	}
	if s, bad := failing(o, pods, ""); bad {
		return s
	}
	want := num(o, 0, "status", "desiredNumberScheduled")
	if text(o, "spec", "updateStrategy", "type") != "OnDelete" && num(o, 0, "status", "updatedNumberScheduled") < want {
		return Status{Progressing, "Waiting for daemon set rollout to finish"}
	}
	if available := num(o, 0, "status", "numberAvailable"); available < want {
		return Status{Progressing, fmt.Sprintf("Waiting for daemon set rollout to finish: %d of %d updated pods are available...", available, want)}
	}
	return Status{Code: Healthy}
}

func pod(o *unstructured.Unstructured, _ []object.Pod) Status {
	always := text(o, "spec", "restartPolicy") != "OnFailure" && text(o, "spec", "restartPolicy") != "Never"
	p := PodOf(o)
	if always && (p.Waiting == "CrashLoopBackOff" || p.Waiting == "ImagePullBackOff" || p.Waiting == "ErrImagePull") {
		return Status{Degraded, fmt.Sprintf("container %q: %s", p.Container, p.Waiting)}
	}
	switch text(o, "status", "phase") {
	case "Succeeded":
		return Status{Code: Healthy}
	case "Failed":
		return Status{Degraded, text(o, "status", "message")}
	case "Running":
		if always && p.Ready {
			return Status{Code: Healthy}
		}
		if always && p.Terminated != "" {
			return Status{Degraded, p.Terminated}
		}
		return Status{Code: Progressing}
	case "Pending":
		return Status{Code: Progressing}
	}
	return Status{Code: Unknown}
}

// PodOf reduces a pod to the record that is kept of it.
func PodOf(o *unstructured.Unstructured) object.Pod {
	p := object.Pod{Namespace: o.GetNamespace(), Name: o.GetName()}
	for _, ref := range o.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller {
			p.Owner = string(ref.UID)
		}
	}
	p.Revision = o.GetLabels()["controller-revision-hash"]
	if hash := o.GetLabels()["pod-template-hash"]; hash != "" {
		p.Revision = hash
	}
	ready, _, _ := condition(o, "Ready")
	p.Ready = ready == "True"
	statuses, _, _ := unstructured.NestedSlice(o.Object, "status", "containerStatuses")
	for _, item := range statuses {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		waiting, _, _ := unstructured.NestedString(m, "state", "waiting", "reason")
		terminated, _, _ := unstructured.NestedString(m, "lastState", "terminated", "reason")
		if waiting != "" || (terminated != "" && p.Waiting == "") {
			p.Container, _ = m["name"].(string)
			p.Waiting, p.Terminated = waiting, terminated
		}
	}
	return p
}

func job(o *unstructured.Unstructured, _ []object.Pod) Status {
	if status, _, message := condition(o, "Failed"); status != "" {
		return Status{Degraded, message}
	}
	if status, _, message := condition(o, "Complete"); status != "" {
		return Status{Healthy, message}
	}
	if status, _, message := condition(o, "Suspended"); status == "True" {
		return Status{Suspended, message}
	}
	return Status{Progressing, "Job is running"}
}

func service(o *unstructured.Unstructured, _ []object.Pod) Status {
	if text(o, "spec", "type") != "LoadBalancer" {
		return Status{Code: Healthy}
	}
	return addressed(o)
}

func ingress(o *unstructured.Unstructured, _ []object.Pod) Status { return addressed(o) }

func addressed(o *unstructured.Unstructured) Status {
	if list, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress"); len(list) > 0 {
		return Status{Code: Healthy}
	}
	return Status{Progressing, "waiting for an address"}
}

func claim(o *unstructured.Unstructured, _ []object.Pod) Status {
	switch phase := text(o, "status", "phase"); phase {
	case "Bound":
		return Status{Code: Healthy}
	case "Pending", "":
		return Status{Code: Progressing}
	case "Lost":
		return Status{Code: Degraded}
	}
	return Status{Code: Unknown}
}

func autoscaler(o *unstructured.Unstructured, _ []object.Pod) Status {
	message := ""
	for _, name := range []string{"AbleToScale", "ScalingActive"} {
		_, reason, words := condition(o, name)
		switch reason {
		case "FailedGetScale", "FailedUpdateScale", "InvalidSelector":
			return Status{Degraded, words}
		}
		if status, _, _ := condition(o, name); status == "False" {
			message = words
		}
	}
	current := num(o, -1, "status", "currentReplicas")
	if current >= num(o, 1, "spec", "minReplicas") && current <= num(o, 0, "spec", "maxReplicas") {
		return Status{Healthy, message}
	}
	return Status{Progressing, "Waiting to Autoscale"}
}

// phased judges the kinds of Argo Rollouts and Workflows by status.phase.
func phased(o *unstructured.Unstructured, _ []object.Pod) Status {
	message := text(o, "status", "message")
	switch text(o, "status", "phase") {
	case "Healthy", "Successful", "Succeeded":
		return Status{Healthy, message}
	case "Paused":
		return Status{Suspended, message}
	case "Degraded", "Failed", "Error":
		return Status{Degraded, message}
	case "Inconclusive":
		return Status{Unknown, message}
	}
	return Status{Progressing, message}
}
