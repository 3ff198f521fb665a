package diff

import (
	"encoding/base64"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Options shape the comparison of one Application (spec/diff-health.md §5.2).
type Options struct {
	// Status says for which objects status does not count: StatusOfAll,
	// StatusOfDefinitions or StatusOfNone. Empty is StatusOfAll.
	Status string
	// IgnoreAggregatedRoles takes the rules of aggregated ClusterRoles out.
	IgnoreAggregatedRoles bool
	// Mutations lets fields count that neither Git nor we own, which is where
	// mutating webhooks write (compare option IncludeMutationWebhook=true).
	Mutations bool
	// Known are fields of custom resources with a built-in type.
	Known []KnownField
	// MaskAnnotations are annotations of Secrets whose values are masked.
	MaskAnnotations []string
}

// Values of Options.Status.
const (
	StatusOfAll         = "all"
	StatusOfDefinitions = "crd"
	StatusOfNone        = "none"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// volatile are fields of metadata that never count as a difference.
var volatile = []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}

func (o Options) ignoresStatus(kind string) bool {
	switch o.Status {
	case StatusOfNone:
		return false
	case StatusOfDefinitions:
		return kind == "CustomResourceDefinition"
	}
	return true
}

func isSecret(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Secret" && o.GetAPIVersion() == "v1"
}

func isAggregated(o *unstructured.Unstructured) bool {
	return o.GetKind() == "ClusterRole" && o.GroupVersionKind().Group == "rbac.authorization.k8s.io" && o.Object["aggregationRule"] != nil
}

// Prepare gives the object as it is sent to the cluster: without fields that
// only the API server may set, without rules that another controller computes,
// and a Secret with all its data in one field: whoever owns stringData owns
// nothing of data, so that a change there would be nobody's, and a key that
// goes from stringData would stay. The object given is not changed.
func Prepare(desired *unstructured.Unstructured) *unstructured.Unstructured {
	rules, listed := desired.Object["rules"].([]any)
	drop := isAggregated(desired) && (listed && len(rules) == 0 || desired.Object["rules"] == nil)
	meta, _ := desired.Object["metadata"].(map[string]any)
	_, stamped := meta["creationTimestamp"]
	texts := isSecret(desired) && onlyTexts(desired.Object["stringData"])
	if !drop && !stamped && !texts {
		return desired
	}
	out := desired.DeepCopy()
	if drop {
		delete(out.Object, "rules")
	}
	if texts {
		mergeStringData(out)
	}
	unstructured.RemoveNestedField(out.Object, "metadata", "creationTimestamp")
	return out
}

// onlyTexts says that stringData is there and in the form that the API server
// takes; what it refuses it is to be sent as it is.
func onlyTexts(v any) bool {
	m, ok := v.(map[string]any)
	for _, item := range m {
		if _, text := item.(string); !text {
			return false
		}
	}
	return ok
}

// normal is a copy of o in the form in which objects are compared.
func (o Options) normal(in *unstructured.Unstructured) *unstructured.Unstructured {
	out := in.DeepCopy()
	if meta, ok := out.Object["metadata"].(map[string]any); ok {
		for _, name := range volatile {
			delete(meta, name)
		}
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			delete(annotations, lastApplied)
		}
		for _, name := range []string{"annotations", "labels"} {
			if m, isMap := meta[name].(map[string]any); meta[name] == nil || isMap && len(m) == 0 {
				delete(meta, name)
			}
		}
	}
	if o.ignoresStatus(out.GetKind()) {
		delete(out.Object, "status")
	}
	if isSecret(out) {
		mergeStringData(out)
	}
	if out.GroupVersionKind().Group == "rbac.authorization.k8s.io" {
		if rules, ok := out.Object["rules"].([]any); ok && len(rules) == 0 {
			out.Object["rules"] = nil
		}
		if isAggregated(out) && o.IgnoreAggregatedRoles {
			out.Object["rules"] = nil
		}
		if v, ok := out.Object["rules"]; ok && v == nil {
			delete(out.Object, "rules")
		}
	}
	for _, k := range o.Known {
		k.normalize(out, object.KeyOf(out))
	}
	return out
}

// mergeStringData moves stringData of a Secret into data, as the API does.
func mergeStringData(o *unstructured.Unstructured) {
	data, _ := o.Object["data"].(map[string]any)
	if data == nil {
		data = map[string]any{}
	}
	for k, v := range data {
		if v == nil {
			data[k] = ""
		}
	}
	if plain, ok := o.Object["stringData"].(map[string]any); ok {
		for k, v := range plain {
			text, _ := v.(string)
			data[k] = base64.StdEncoding.EncodeToString([]byte(text))
		}
	}
	delete(o.Object, "stringData")
	if delete(o.Object, "data"); len(data) > 0 {
		o.Object["data"] = data
	}
}

// deepCopy copies a JSON value.
func deepCopy(v any) any { return runtime.DeepCopyJSONValue(v) }
