package application

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/nesting"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// surroundings are warnings about what an Application does not deploy itself:
// the Applications above it, and objects beside its own.
func (p *pass) surroundings(ctx context.Context, v *view) []v1alpha1.ApplicationCondition {
	found := nesting.Look(p.instance, func(instance string) string { return p.parent(ctx, instance) })
	var out []v1alpha1.ApplicationCondition
	for _, c := range []struct{ kind, text string }{
		{v1alpha1.ConditionNestingWarning, found.TooDeep}, {v1alpha1.ConditionDependencyLoopWarning, found.Loop},
		{v1alpha1.ConditionSelfManagedWarning, found.Itself}, {v1alpha1.ConditionOrphanedResourceWarning, p.orphans(ctx, v)},
	} {
		if c.text != "" {
			out = append(out, condition(c.kind, c.text))
		}
	}
	return out
}

// parent is the instance that deploys another one, or the ApplicationSet that
// it was generated from; "" when nobody does.
func (p *pass) parent(ctx context.Context, instance string) string {
	key := types.NamespacedName{Namespace: p.Namespace, Name: instance}
	if namespace, name, other := strings.Cut(instance, "_"); other {
		key = types.NamespacedName{Namespace: namespace, Name: name}
	}
	var app v1alpha1.Application
	if err := p.Cache.Get(ctx, key, &app); err != nil {
		return ""
	}
	if up := deployedBy(p.systemRules().tracking, &app, "Application"); up != "" {
		return up
	}
	owner := metav1.GetControllerOf(&app)
	if owner == nil || owner.Kind != "ApplicationSet" {
		return ""
	}
	var set v1alpha1.ApplicationSet
	if err := p.Cache.Get(ctx, types.NamespacedName{Namespace: app.Namespace, Name: owner.Name}, &set); err != nil {
		return ""
	}
	return deployedBy(p.systemRules().tracking, &set, "ApplicationSet")
}

// deployedBy reads the marks of an object of our own kinds.
func deployedBy(t object.Tracking, o client.Object, kind string) string {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	u.SetNamespace(o.GetNamespace())
	u.SetName(o.GetName())
	u.SetAnnotations(o.GetAnnotations())
	u.SetLabels(o.GetLabels())
	owner, self := t.Owner(u)
	if !self {
		return ""
	}
	return owner
}

// orphanPause is the time after which a namespace is looked through again: no
// event tells of objects of kinds that nobody deploys.
const orphanPause = time.Minute

// orphans words which objects of the destination namespace nobody manages
// (spec/application.md §13.5); "" when the project does not ask for it.
func (p *pass) orphans(ctx context.Context, v *view) string {
	rules, namespace := p.project.Spec.OrphanedResources, p.app.Spec.Destination.Namespace
	if rules == nil || rules.Warn == nil || !*rules.Warn || namespace == "" {
		return ""
	}
	p.soon(orphanPause)
	targets := map[object.Key]bool{}
	for _, pair := range slices.Concat(v.pairs, v.hooks) {
		targets[pair.Key] = true
	}
	var names []string
	for _, key := range p.strays(ctx, func(k object.Key) bool { return targets[k] }) {
		names = append(names, key.Kind+"/"+key.Name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	text := fmt.Sprintf("Application has %d orphaned resources", len(names))
	if more := len(names) - shownObjects; more > 0 {
		names = append(names[:shownObjects], fmt.Sprintf("and %d more", more))
	}
	return text + ": " + strings.Join(names, ", ")
}

// strays are the objects of the destination namespace that nobody manages,
// this Application neither, when the project asks for them.
func (p *pass) strays(ctx context.Context, ours func(object.Key) bool) []object.Key {
	rules, namespace := p.project.Spec.OrphanedResources, p.app.Spec.Destination.Namespace
	if rules == nil || namespace == "" {
		return nil
	}
	found, err := p.conn.Survey(ctx, namespace, p.excluded)
	if err != nil {
		p.log.Warn("namespace not looked through", "namespace", namespace, "error", err.Error())
		return nil
	}
	return slices.DeleteFunc(slices.Clone(found), func(key object.Key) bool {
		o := policy.Object{Group: key.Group, Kind: key.Kind, Namespace: key.Namespace, Name: key.Name, Namespaced: true}
		return ours(key) || expected(key, rules.Ignore) || policy.Manage(p.project, p.cluster, o) != nil
	})
}

// expected says that nobody has to manage an object: it is there in every
// namespace, or the project says so. Group is meant literally.
func expected(key object.Key, rules []v1alpha1.OrphanedResourceKey) bool {
	core := key.Group == ""
	switch {
	case core && key.Kind == "ServiceAccount" && key.Name == "default",
		core && key.Kind == "ConfigMap" && key.Name == "kube-root-ca.crt",
		core && key.Kind == "Service" && key.Namespace == "default" && key.Name == "kubernetes":
		return true
	}
	glob := func(pattern, text string) bool {
		ok, err := path.Match(pattern, text)
		return pattern == "" || err == nil && ok
	}
	return slices.ContainsFunc(rules, func(r v1alpha1.OrphanedResourceKey) bool {
		return r.Group == key.Group && glob(r.Kind, key.Kind) && glob(r.Name, key.Name)
	})
}

// verdict is the health of a live object. Whoever lets Applications be judged,
// by a script, wants to wait for them: one whose sync is still to come, or under
// way, is Progressing, whatever its status says of the time before.
func (p *pass) verdict(ctx context.Context, live *unstructured.Unstructured, pods []object.Pod) health.Verdict {
	judged := p.Health.Assess(ctx, live, pods)
	gvk := live.GroupVersionKind()
	if gvk.Group != v1alpha1.GroupVersion.Group || gvk.Kind != "Application" || !judged.Known || live.GetUID() == p.app.UID {
		return judged
	}
	switch judged.Code {
	case v1alpha1.HealthHealthy, v1alpha1.HealthMissing, v1alpha1.HealthUnknown:
		if unsettled(live) {
			judged.Status = health.Status{Code: v1alpha1.HealthProgressing, Message: "its sync is not complete"}
		}
	}
	return judged
}

// unsettled says that an Application has not been looked at yet, is being
// synced, or is about to be.
func unsettled(live *unstructured.Unstructured) bool {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(live.Object, path...)
		return value
	}
	phase := v1alpha1.OperationPhase(text("status", "operationState", "phase"))
	_, requested, _ := unstructured.NestedMap(live.Object, "operation")
	if requested || text("status", "reconciledAt") == "" || phase != "" && !phase.Completed() {
		return true
	}
	automated, on, _ := unstructured.NestedMap(live.Object, "spec", "syncPolicy", "automated")
	if enabled, set := automated["enabled"].(bool); !on || set && !enabled {
		return false
	}
	return text("status", "sync", "status") == string(v1alpha1.SyncStatusOutOfSync) && (phase == "" || phase == v1alpha1.OperationSucceeded)
}
