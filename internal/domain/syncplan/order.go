package syncplan

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kindOrder is the order inside a wave; kinds not listed come last.
var kindOrder = []string{
	"Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy", "PodDisruptionBudget",
	"ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass", "PersistentVolume",
	"PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleList",
	"ClusterRoleBinding", "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList",
	"Service", "DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment",
	"HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress", "APIService",
}

func kindRank(kind string) int {
	if i := slices.Index(kindOrder, kind); i >= 0 {
		return i
	}
	return len(kindOrder)
}

// order sorts tasks by phase, wave, kind and name, then lifts namespaces and
// custom resource definitions before the objects that need them.
func order(tasks []Task) []Task {
	slices.SortStableFunc(tasks, compareTasks)
	return lift(tasks)
}

func compareTasks(a, b Task) int {
	if c := cmp.Compare(a.Phase.rank(), b.Phase.rank()); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Wave, b.Wave); c != 0 {
		return c
	}
	if a.Key.Kind != b.Key.Kind {
		if c := cmp.Compare(kindRank(a.Key.Kind), kindRank(b.Key.Kind)); c != 0 {
			return c
		}
	}
	return cmp.Or(
		strings.Compare(a.Key.Name, b.Key.Name), strings.Compare(a.Key.Group, b.Key.Group),
		strings.Compare(a.Key.Kind, b.Key.Kind), strings.Compare(a.Key.Namespace, b.Key.Namespace),
	)
}

// invertPruneWaves gives the prune tasks the same set of waves in the opposite
// order, so that what was created last is removed first.
func invertPruneWaves(tasks []Task) {
	var waves []int
	for _, t := range tasks {
		if t.Prune() && !slices.Contains(waves, t.Wave) {
			waves = append(waves, t.Wave)
		}
	}
	slices.Sort(waves)
	opposite := make(map[int]int, len(waves))
	for i, w := range waves {
		opposite[w] = waves[len(waves)-1-i]
	}
	for i := range tasks {
		if tasks[i].Prune() {
			tasks[i].Wave = opposite[tasks[i].Wave]
		}
	}
}

// need names what a task provides or requires: a namespace or a kind.
type need struct{ group, name string }

const namespaceNeed = "v1/Namespace"

// lift moves each Namespace and each CustomResourceDefinition directly before
// the first task that needs it, into that task's phase and wave.
func lift(tasks []Task) []Task {
	first := map[need]int{}
	for i, t := range tasks {
		if t.Prune() {
			continue
		}
		for _, n := range []need{{namespaceNeed, t.Key.Namespace}, {t.Key.Group, t.Key.Kind}} {
			if _, seen := first[n]; !seen && n.name != "" {
				first[n] = i
			}
		}
	}
	before := map[int][]Task{}
	moved := map[int]bool{}
	for i, t := range tasks {
		n, provides := provided(t)
		at, needed := first[n]
		if !provides || !needed || at >= i {
			continue
		}
		t.Phase, t.Wave = tasks[at].Phase, tasks[at].Wave
		before[at] = append(before[at], t)
		moved[i] = true
	}
	if len(moved) == 0 {
		return tasks
	}
	out := make([]Task, 0, len(tasks))
	for i, t := range tasks {
		slices.SortStableFunc(before[i], func(a, b Task) int { return cmp.Compare(kindRank(a.Key.Kind), kindRank(b.Key.Kind)) })
		out = append(out, before[i]...)
		if !moved[i] {
			out = append(out, t)
		}
	}
	return out
}

func provided(t Task) (need, bool) {
	if t.Prune() || t.Hook {
		return need{}, false
	}
	switch {
	case t.Key.Group == "" && t.Key.Kind == "Namespace":
		return need{namespaceNeed, t.Key.Name}, true
	case t.Key.Group == "apiextensions.k8s.io" && t.Key.Kind == "CustomResourceDefinition":
		return crdNeed(t.Target), true
	}
	return need{}, false
}

func crdNeed(crd *unstructured.Unstructured) need {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	return need{group, kind}
}

// ProvidedKinds lists group and kind of the custom resource definitions among
// the targets: kinds that the cluster does not know yet but will.
func ProvidedKinds(targets []*unstructured.Unstructured) map[[2]string]bool {
	out := map[[2]string]bool{}
	for _, t := range targets {
		if t.GetKind() == "CustomResourceDefinition" {
			n := crdNeed(t)
			out[[2]string{n.group, n.name}] = true
		}
	}
	return out
}
