package appset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// rollingSync is the strategy that needs labels to choose steps by.
const rollingSync = "RollingSync"

// maxLabels bounds the labels that generators add to one Application.
const maxLabels = 64

// reserved prefixes are never propagated: labels below them have a meaning on
// the object they stand on.
var reserved = []string{"argocd.argoproj.io/", "kubectl.kubernetes.io/", "helm.sh/"}

// Propagates says whether generator labels reach the Applications: always,
// never, or (Auto, the default) when the strategy is RollingSync, whether or
// not the controller honours it.
func Propagates(set *v1alpha1.ApplicationSet) bool {
	mode := "Auto"
	if g := set.Spec.GeneratorLabels; g != nil && g.Propagation != "" {
		mode = g.Propagation
	}
	if mode == "Always" || mode == "Never" {
		return mode == "Always"
	}
	return set.Spec.Strategy != nil && set.Spec.Strategy.Type == rollingSync
}

// labeller gives Applications of a set their labels.
type labeller struct {
	set *v1alpha1.ApplicationSet
	// tracking is the configured tracking label.
	tracking string
}

// labels lays what generators offer under the labels of the template and
// names the set; notes say what is left out and why. Offered labels are taken
// in the order of their keys.
func (l labeller) labels(offered, template map[string]string) (out map[string]string, notes []string) {
	out = map[string]string{v1alpha1.LabelApplicationSetName: LabelValue(l.set.Name)}
	taken := 0
	if Propagates(l.set) {
		for _, k := range slices.Sorted(maps.Keys(offered)) {
			why := l.refuses(k, offered[k])
			if why == "" && taken == maxLabels {
				why = fmt.Sprintf("%d labels are propagated already", maxLabels)
			}
			if why != "" {
				notes = append(notes, fmt.Sprintf("label %q is not propagated: %s", k, why))
				continue
			}
			out[k] = offered[k]
			taken++
		}
	}
	maps.Copy(out, template)
	return out, notes
}

// refuses says why a label must not reach an Application; empty when it may.
// A tracking label would make the Application look like a part of another one,
// which would prune it.
func (l labeller) refuses(key, value string) string {
	switch {
	case l.set.Spec.GeneratorLabels != nil && slices.Contains(l.set.Spec.GeneratorLabels.Exclude, key):
		return "it is listed in spec.generatorLabels.exclude"
	case key == v1alpha1.LabelApplicationSetName:
		return "it names the ApplicationSet"
	case key == v1alpha1.LabelInstance, l.tracking != "" && key == l.tracking:
		return "it marks what an Application owns"
	case key != v1alpha1.LabelKubernetesVersion && slices.ContainsFunc(reserved, func(p string) bool { return strings.HasPrefix(key, p) }):
		return "its prefix is reserved"
	case len(validation.IsQualifiedName(key)) > 0:
		return "its key is not a valid label key"
	case len(validation.IsValidLabelValue(value)) > 0:
		return "its value is not a valid label value"
	}
	return ""
}

// LabelValue is the value of the label applicationset-name: the name, or for
// a long one its beginning and a digest.
func LabelValue(name string) string {
	if len(name) <= validation.LabelValueMaxLength {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:54] + "-" + hex.EncodeToString(sum[:4])
}

// scalarLabels are the entries that may become labels: strings, booleans and
// whole numbers.
func scalarLabels(element map[string]any) map[string]string {
	out := map[string]string{}
	for k, v := range element {
		switch t := v.(type) {
		case string, bool, int64:
			out[k] = text(v)
		case float64:
			if t == math.Trunc(t) {
				out[k] = text(v)
			}
		}
	}
	return out
}
