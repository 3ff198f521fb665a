package application

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// managedBefore names what the Application managed so far, without the kinds that are
// out of sight.
func (p *pass) managedBefore() []cluster.Named {
	var out []cluster.Named
	add := func(group, version, kind, namespace, name string) {
		if n := (cluster.Named{GroupVersionKind: schema.GroupVersionKind{Group: group, Version: version, Kind: kind}, Namespace: namespace, Name: name}); !p.excluded(n.GroupKind()) {
			out = append(out, n)
		}
	}
	for _, r := range p.app.Status.Resources {
		add(r.Group, r.Version, r.Kind, r.Namespace, r.Name)
	}
	if s := p.app.Status.OperationState; s != nil && s.SyncResult != nil {
		for _, r := range s.SyncResult.Resources {
			add(r.Group, r.Version, r.Kind, r.Namespace, r.Name)
		}
	}
	return out
}

// Pauses until objects that are not watched are read again: no event tells of
// them.
const (
	unlistedPause       = time.Minute
	unlistedDuringASync = 2 * time.Second
)

// unlisted says what it means for the Application that the credential may not
// list some kinds (resource.respectRBAC). Those that it does not use do not
// concern it.
func (p *pass) unlisted(v *view, targets []*unstructured.Unstructured) {
	if len(v.live.Unlisted) == 0 {
		return
	}
	for key, why := range v.live.Unread {
		if v.unseen != nil && slices.ContainsFunc(targets, func(t *unstructured.Unstructured) bool { return object.KeyOf(t) == key }) {
			v.unseen[key] = "may neither be listed nor read: " + why.Error()
		}
	}
	for _, text := range withoutSight(targets, v.live.Unlisted, p.cluster.Name) {
		v.conditions = append(v.conditions, condition(v1alpha1.ConditionComparisonWarning, text))
	}
	if slices.ContainsFunc(targets, func(t *unstructured.Unstructured) bool {
		return v.live.Unlisted[t.GroupVersionKind().GroupKind()] != nil
	}) {
		p.soon(unlistedPause)
		if p.app.Operation != nil || p.app.DeletionTimestamp != nil {
			p.soon(unlistedDuringASync)
		}
	}
}

// withoutSight words, kind by kind, what is not seen of the targets.
func withoutSight(targets []*unstructured.Unstructured, unlisted map[schema.GroupKind]error, server string) []string {
	own, above := map[schema.GroupKind]int{}, map[schema.GroupKind][]string{}
	for _, t := range targets {
		kind := t.GroupVersionKind().GroupKind()
		if unlisted[kind] != nil {
			own[kind]++
		}
		for _, below := range podOwners[kind] {
			if unlisted[below] != nil {
				above[below] = append(above[below], kind.Kind+"/"+t.GetName())
			}
		}
	}
	var out []string
	for kind, n := range own {
		out = append(out, fmt.Sprintf("the credential of cluster %s may not list %s: %d of the objects in Git are read one by one, and what others change in them is noticed within %s only: permit list and watch",
			server, kind, n, unlistedPause))
	}
	for kind, names := range above {
		slices.Sort(names)
		if more := len(names) - shownObjects; more > 0 {
			names = append(names[:shownObjects], fmt.Sprintf("and %d more", more))
		}
		out = append(out, fmt.Sprintf("the credential of cluster %s may not list %s: pods that crash or cannot start do not count in the health of %s: permit list and watch",
			server, kind, strings.Join(names, ", ")))
	}
	slices.Sort(out)
	return out
}

// podOwners are the kinds whose health looks into the pods below them, with
// the kinds that have to be seen for that.
var podOwners = func() map[schema.GroupKind][]schema.GroupKind {
	pod, set := schema.GroupKind{Kind: "Pod"}, schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	return map[schema.GroupKind][]schema.GroupKind{
		{Group: "apps", Kind: "Deployment"}: {set, pod}, {Group: "argoproj.io", Kind: "Rollout"}: {set, pod},
		{Group: "apps", Kind: "StatefulSet"}: {pod}, {Group: "apps", Kind: "DaemonSet"}: {pod}, set: {pod}, {Group: "batch", Kind: "Job"}: {pod},
	}
}()

// childKinds are the kinds of what becomes of the objects that are wanted,
// without those that are out of sight.
func (p *pass) childKinds(w cluster.Want) []schema.GroupVersionKind {
	var managed []schema.GroupVersionKind
	for _, b := range w.Before {
		managed = append(managed, b.GroupVersionKind)
	}
	for _, t := range w.Targets {
		managed = append(managed, t.GroupVersionKind())
	}
	return slices.DeleteFunc(inspect.ChildKinds(managed), func(k schema.GroupVersionKind) bool { return p.excluded(k.GroupKind()) })
}
