package inspect

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// children are the kinds that controllers of Kubernetes make of a kind, beside
// ReplicaSets and Pods.
var children = map[schema.GroupKind]schema.GroupVersionKind{
	{Kind: "Service"}:                    {Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"},
	{Group: "batch", Kind: "CronJob"}:    {Group: "batch", Version: "v1", Kind: "Job"},
	{Group: "apps", Kind: "StatefulSet"}: {Group: "apps", Version: "v1", Kind: "ControllerRevision"},
	{Group: "apps", Kind: "DaemonSet"}:   {Group: "apps", Version: "v1", Kind: "ControllerRevision"},
}

// ChildKinds are the kinds of what becomes of objects of the given kinds.
func ChildKinds(of []schema.GroupVersionKind) []schema.GroupVersionKind {
	var out []schema.GroupVersionKind
	for _, k := range of {
		if c, ok := children[k.GroupKind()]; ok && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
