package generate

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// preservedAnnotations survive on live Applications whatever the template says.
var preservedAnnotations = []string{
	v1alpha1.AnnotationNotified, v1alpha1.AnnotationRefresh, v1alpha1.AnnotationHydrate, v1alpha1.AnnotationRolloutSkip,
	v1alpha1.AnnotationReleaseHold,
}

// Writer makes the Applications of a set that are to be stored.
type Writer struct {
	Set  *v1alpha1.ApplicationSet
	Gate bool
	// PreservedAnnotations and PreservedLabels are the installation's.
	PreservedAnnotations, PreservedLabels []string
	// Find evaluates jq expressions of spec.ignoreApplicationDifferences.
	Find appset.Finder
}

// Desired is the Application to store: the rendered one, with what survives of
// the live one, and with automation switched off where a rollout holds it,
// whatever the rules on ignored fields say. The error names a rule that cannot
// be followed. The result shares status and operation with the live one.
func (w Writer) Desired(rendered, live *v1alpha1.Application) (*v1alpha1.Application, error) {
	set := w.Set
	app := &v1alpha1.Application{}
	if live != nil {
		app.ObjectMeta, app.Status, app.Operation = *live.ObjectMeta.DeepCopy(), live.Status, live.Operation
	}
	app.TypeMeta = rendered.TypeMeta
	app.Name, app.Namespace = rendered.Name, set.Namespace
	app.Spec = *rendered.Spec.DeepCopy()
	if app.Spec.Project == "" {
		app.Spec.Project = policy.DefaultProject
	}
	annotations, labels := maps.Clone(rendered.Annotations), maps.Clone(rendered.Labels)
	if annotations == nil {
		annotations = map[string]string{}
	}
	if labels == nil {
		labels = map[string]string{}
	}
	finalizers := slices.Clone(rendered.Finalizers)
	if live != nil {
		keepAnnotations, keepLabels := slices.Concat(preservedAnnotations, w.PreservedAnnotations), w.PreservedLabels
		if p := set.Spec.PreservedFields; p != nil {
			keepAnnotations, keepLabels = slices.Concat(keepAnnotations, p.Annotations), slices.Concat(keepLabels, p.Labels)
		}
		keep(annotations, live.Annotations, keepAnnotations)
		keep(labels, live.Labels, keepLabels)
		for _, f := range live.Finalizers {
			if strings.HasPrefix(f, v1alpha1.FinalizerPreDelete) || strings.HasPrefix(f, v1alpha1.FinalizerPostDelete) {
				finalizers = append(finalizers, f)
			}
		}
	}
	app.Annotations, app.Labels, app.Finalizers = annotations, labels, finalizers
	app, err := appset.Ignore(set, app, live, w.Find)
	if err != nil {
		return nil, err
	}
	hold(set, w.Gate, rendered, app)
	if live != nil && live.Annotations[v1alpha1.AnnotationRolloutHeldBy] == set.Name && app.Annotations[v1alpha1.AnnotationRolloutHeldBy] == "" {
		restore(rendered, app)
	}
	yes := true
	app.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.ApplicationSetKind, Name: set.Name, UID: set.UID,
		Controller: &yes, BlockOwnerDeletion: &yes,
	}}
	return app, nil
}

// finder evaluates jq expressions where call does, reading each once.
func finder(ctx context.Context, call jq.Caller) appset.Finder {
	known, compiler := map[string]diff.Query{}, jq.Compiler{Call: call}
	var guard sync.Mutex
	return func(expression string, object map[string]any) ([][]any, error) {
		guard.Lock()
		defer guard.Unlock()
		query, ok := known[expression]
		if !ok {
			var err error
			if query, err = compiler.Compile(expression); err != nil {
				return nil, err
			}
			known[expression] = query
		}
		paths, err := query.Paths(ctx, object)
		out := make([][]any, len(paths))
		for i, p := range paths {
			out[i] = p
		}
		return out, err
	}
}

// restore gives automation of an Application that is no longer held its
// rendered value, also where an ignored field would keep ours.
func restore(rendered, app *v1alpha1.Application) {
	if p := app.Spec.SyncPolicy; p != nil && p.Automated != nil {
		p.Automated.Enabled = nil
		if r := rendered.Spec.SyncPolicy; r != nil && r.Automated != nil {
			p.Automated.Enabled = r.Automated.Enabled
		}
	}
}

func keep(into, from map[string]string, keys []string) {
	for _, k := range keys {
		if v, ok := from[k]; ok {
			into[k] = v
		}
	}
}

// hold switches automation off for what the rollout syncs, and names the holder.
func hold(set *v1alpha1.ApplicationSet, gate bool, rendered, app *v1alpha1.Application) {
	if !rollout.Holds(set, gate, rendered, app.Annotations) {
		return
	}
	if p := app.Spec.SyncPolicy; p != nil && p.Automated != nil {
		off := false
		p.Automated.Enabled = &off
		if app.Annotations == nil {
			app.Annotations = map[string]string{}
		}
		app.Annotations[v1alpha1.AnnotationRolloutHeldBy] = set.Name
	}
}

// equal says that a write would change nothing.
func equal(a, b *v1alpha1.Application) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && sameMap(a.Labels, b.Labels) && sameMap(a.Annotations, b.Annotations) &&
		slices.Equal(a.Finalizers, b.Finalizers) && equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}

func sameMap(a, b map[string]string) bool {
	return len(a) == 0 && len(b) == 0 || maps.Equal(a, b)
}
