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

// Worse says that a is worse than b (spec/diff-health.md §9.1).
func Worse(a, b v1alpha1.HealthStatusCode) bool {
	return slices.Index(ranking, a) > slices.Index(ranking, b)
}

// Valid says that code is one of the six.
func Valid(code v1alpha1.HealthStatusCode) bool { return slices.Contains(ranking, code) }

// hookFinalizer keeps a finished hook; its real health counts meanwhile.
const hookFinalizer = "argocd.argoproj.io/hook-finalizer"

// deleting says that an object only waits for its end.
func deleting(o *unstructured.Unstructured) bool {
	return o.GetDeletionTimestamp() != nil && !slices.Contains(o.GetFinalizers(), hookFinalizer)
}

type judge func(o *unstructured.Unstructured, pods []object.Pod) Status

// rule judges a kind; versions lists the API versions whose fields it knows,
// none means that every version has them.
type rule struct {
	judge    judge
	versions []string
}

// rules is keyed by group/Kind; the core group is empty.
var rules = map[string]rule{
	"apps/Deployment":  {deployment, []string{"v1"}},
	"apps/ReplicaSet":  {replicaSet, []string{"v1"}},
	"apps/StatefulSet": {statefulSet, []string{"v1"}},
	"apps/DaemonSet":   {daemonSet, []string{"v1"}},
	"/Pod":             {pod, []string{"v1"}},
	"batch/Job":        {job, []string{"v1"}},
	"batch/CronJob":    {judge: cronJob},

	"/Service":                            {service, []string{"v1"}},
	"networking.k8s.io/Ingress":           {judge: ingress},
	"extensions/Ingress":                  {judge: ingress},
	"/PersistentVolumeClaim":              {claim, []string{"v1"}},
	"autoscaling/HorizontalPodAutoscaler": {autoscaler, []string{"v1", "v2"}},
	"policy/PodDisruptionBudget":          {judge: disruptionBudget},

	"apiregistration.k8s.io/APIService":             {apiService, []string{"v1", "v1beta1"}},
	"apiextensions.k8s.io/CustomResourceDefinition": {judge: definition},
	"snapshot.storage.k8s.io/VolumeSnapshot":        {judge: snapshot},
	"snapshot.storage.k8s.io/VolumeSnapshotContent": {judge: snapshot},

	"argoproj.io/Workflow":       {judge: workflow},
	"argoproj.io/Rollout":        {judge: rollout},
	"argoproj.io/AnalysisRun":    {judge: analysis},
	"argoproj.io/Experiment":     {judge: analysis},
	"argoproj.io/ApplicationSet": {judge: applicationSet},
}

// BuiltIn judges by the rules in Go alone; known is false for kinds without
// one. An API version whose fields the rule does not know is an error.
func BuiltIn(o *unstructured.Unstructured, pods []object.Pod) (status Status, known bool, err error) {
	gvk := o.GroupVersionKind()
	r, ok := rules[gvk.Group+"/"+gvk.Kind]
	if !ok {
		return Status{}, false, nil
	}
	if len(r.versions) > 0 && !slices.Contains(r.versions, gvk.Version) {
		return Status{}, true, fmt.Errorf("unsupported API version %q of %s %s/%s: its health can be judged as %v only",
			o.GetAPIVersion(), gvk.Kind, o.GetNamespace(), o.GetName(), r.versions)
	}
	return r.judge(o, pods), true, nil
}
