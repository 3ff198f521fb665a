package application

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// view is desired and live state side by side.
type view struct {
	sources   []v1alpha1.ApplicationSource
	manifests *manifest.Manifests
	pairs     []syncplan.Pair
	hooks     []syncplan.Pair
	live      *cluster.Observation
	forbidden map[object.Key]error
	// ignored are objects of Git that are neither applied nor counted, nor pruned.
	ignored map[object.Key]bool
	// unseen says why targets lie outside of what the connection may see.
	unseen     map[object.Key]string
	conditions []v1alpha1.ApplicationCondition
	verdicts   verdicts
}

// observeTimeout bounds the wait for first lists of new kinds.
const observeTimeout = 20 * time.Second

// look renders the sources at the revisions and pairs them with live state.
func (p *pass) look(ctx context.Context, sources []v1alpha1.ApplicationSource, revisions []string, named func(*unstructured.Unstructured) *unstructured.Unstructured) (*view, error) {
	m, err := p.desired(ctx, sources, revisions)
	if err != nil {
		return nil, fmt.Errorf("Failed to load target state: %w", err) //nolint:staticcheck // tools match on this text
	}
	v := &view{sources: sources, manifests: m, forbidden: map[object.Key]error{}, ignored: map[object.Key]bool{}, unseen: map[object.Key]string{}}
	for _, w := range m.Warnings {
		v.conditions = append(v.conditions, condition(v1alpha1.ConditionComparisonWarning, w))
	}
	targets, hooks := p.targets(v, named)
	if err := p.observe(ctx, v, slices.Concat(targets, hooks)); err != nil {
		return nil, fmt.Errorf("Failed to load live state: %w", err) //nolint:staticcheck // tools match on this text
	}
	p.pair(v, targets, hooks)
	if p.local {
		v.withoutSecrets()
	}
	if err := p.judge(ctx, v); err != nil {
		return nil, fmt.Errorf("Failed to compare desired state to live state: %w", err) //nolint:staticcheck // tools match on this text
	}
	return v, nil
}

// query asks for what the sources render to on the cluster.
func (p *pass) query(sources []v1alpha1.ApplicationSource) manifest.Query {
	return manifest.Query{
		App:     render.App{Name: p.app.Name, Instance: p.instance, Namespace: p.app.Spec.Destination.Namespace, Project: p.project.Name},
		Sources: sources, KubeVersion: p.conn.KubeVersion(), APIVersions: p.conn.APIVersions(),
		Hard: p.refresh == v1alpha1.RefreshHard, Retry: p.refresh != "", GeneratePaths: p.app.Annotations[v1alpha1.AnnotationGeneratePaths],
	}
}

// targets prepares the rendered objects: namespace, tracking, last one wins.
func (p *pass) targets(v *view, named func(*unstructured.Unstructured) *unstructured.Unstructured) (plain, hooks []*unstructured.Unstructured) {
	// Of several of one key the last one counts, be it a hook or not.
	index, count := map[object.Key]int{}, map[object.Key]int{}
	var all []*unstructured.Unstructured
	for _, rendered := range v.manifests.Objects {
		t := rendered.DeepCopy()
		if gvk := t.GroupVersionKind(); p.excluded(gvk.GroupKind()) {
			v.conditions = append(v.conditions, condition(v1alpha1.ConditionExcludedResourceWarning,
				fmt.Sprintf("Resource %s/%s %s is excluded in the settings", gvk.Group, gvk.Kind, t.GetName())))
			continue
		}
		namespaced, known := p.conn.Scope(t.GroupVersionKind())
		switch {
		case known && !namespaced:
			t.SetNamespace("")
		case t.GetNamespace() == "":
			t.SetNamespace(p.app.Spec.Destination.Namespace)
		}
		phases, hook := syncplan.HookPhases(t)
		if hook {
			t = named(t)
		}
		p.systemRules().tracking.Mark(t, p.instance, p.app.Spec.Destination.Namespace)
		key := object.KeyOf(t)
		o := policy.Object{Group: key.Group, Kind: key.Kind, Namespace: key.Namespace, Name: key.Name, Namespaced: namespaced}
		if err := policy.Manage(p.project, p.cluster, o); err != nil {
			v.forbidden[key] = err
		}
		if err := policy.InSight(p.cluster, o); err != nil {
			v.unseen[key] = err.Error()
		}
		if hook && len(phases) == 0 {
			v.ignored[key] = true
			continue
		}
		if known && namespaced && key.Namespace == "" {
			v.conditions = append(v.conditions, condition(v1alpha1.ConditionInvalidSpecError,
				fmt.Sprintf("Namespace for %s %s is missing.", key.Name, t.GroupVersionKind())))
		}
		count[key]++
		if at, twice := index[key]; twice && key.Name != "" {
			all[at] = t
			continue
		}
		index[key] = len(all)
		all = append(all, t)
	}
	for _, t := range all {
		if _, hook := syncplan.HookPhases(t); hook {
			hooks = append(hooks, t)
		} else {
			plain = append(plain, t)
		}
	}
	for key, n := range count {
		if n > 1 && key.Name != "" {
			v.conditions = append(v.conditions, condition(v1alpha1.ConditionRepeatedResourceWarning,
				fmt.Sprintf("Resource %s appeared %d times among application resources.", key, n)))
		}
	}
	return plain, hooks
}

func (p *pass) observe(ctx context.Context, v *view, targets []*unstructured.Unstructured) error {
	bounded, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	want := cluster.Want{Instance: p.instance, Targets: targets, Before: p.managedBefore(), Respect: p.respects()}
	want.Children = p.childKinds(want)
	var err error
	if v.live, err = p.conn.Observe(bounded, want); err != nil {
		return err
	}
	p.unlisted(v, targets)
	maps.DeleteFunc(v.live.Live, func(k object.Key, _ *unstructured.Unstructured) bool {
		return p.excluded(schema.GroupKind{Group: k.Group, Kind: k.Kind})
	})
	return nil
}

// excluded says that the settings leave a kind out of sight on this cluster.
func (p *pass) excluded(k schema.GroupKind) bool {
	return p.systemRules().filter.Excluded(k.Group, k.Kind, p.cluster.Server)
}

// pair matches targets with live objects; what is live only needs pruning.
// Live objects that the project forbids are out of sight
// (spec/diff-health.md §1).
func (p *pass) pair(v *view, targets, hooks []*unstructured.Unstructured) {
	seen := map[object.Key]bool{}
	for _, t := range targets {
		key := object.KeyOf(t)
		seen[key] = true
		live := v.live.Live[key]
		if v.forbidden[key] != nil {
			live = nil
		}
		if live != nil {
			if owner, self := p.systemRules().tracking.Owner(live); self && owner != "" && owner != p.instance {
				v.conditions = append(v.conditions, condition(v1alpha1.ConditionSharedResourceWarning,
					fmt.Sprintf("%s/%s is part of applications %s and %s", key.Kind, key.Name, p.key, owner)))
			}
		}
		v.pairs = append(v.pairs, syncplan.Pair{Key: key, Target: t, Live: live})
	}
	for _, h := range hooks {
		key := object.KeyOf(h)
		seen[key] = true
		pair := syncplan.Pair{Key: key, Target: h}
		if v.forbidden[key] == nil {
			pair.Live = v.live.Live[key]
		}
		v.hooks = append(v.hooks, pair)
	}
	for key, live := range v.live.Live {
		_, hook := syncplan.HookPhases(live)
		if seen[key] || v.ignored[key] || hook || key.Kind == "CustomResourceDefinition" || p.provides(key) || len(live.GetOwnerReferences()) > 0 {
			continue
		}
		if owner, self := p.systemRules().tracking.Owner(live); !self || owner != p.instance || !p.permits(live) {
			continue
		}
		v.pairs = append(v.pairs, syncplan.Pair{Key: key, Live: live})
	}
	slices.SortFunc(v.pairs, func(a, b syncplan.Pair) int { return strings.Compare(a.Key.String(), b.Key.String()) })
}

// resolve gives the commit of each source.
func (p *pass) resolve(ctx context.Context, sources []v1alpha1.ApplicationSource, fresh bool) ([]string, error) {
	out := make([]string, len(sources))
	for i, src := range sources {
		id, err := p.Manifests.Resolve(ctx, p.project.Name, src, fresh)
		if err != nil {
			return nil, fmt.Errorf("Failed to load target state: %w", err) //nolint:staticcheck // tools match on this text
		}
		out[i] = id
	}
	return out, nil
}

func asIs(u *unstructured.Unstructured) *unstructured.Unstructured { return u }

// compare fills sync status, resources and health.
func (p *pass) compare(ctx context.Context) {
	p.plain = false
	sources := p.app.Spec.GetSources()
	ids, err := p.resolve(ctx, sources, p.refresh != "")
	if err == nil && p.unchanged(ctx, sources, ids) {
		p.follows(ids)
		return
	}
	var v *view
	if err == nil {
		v, err = p.look(ctx, sources, ids, asIs)
	}
	status := &p.app.Status
	compared := v1alpha1.ComparedTo{Destination: p.app.Spec.Destination, IgnoreDifferences: p.app.Spec.IgnoreDifferences}
	if len(p.app.Spec.Sources) > 0 {
		compared.Sources = p.app.Spec.Sources
	} else {
		compared.Source = *p.app.Spec.Source
	}
	p.follows(ids)
	status.Sync.ComparedTo = compared
	if s := status.OperationState; s != nil && s.Phase.Completed() {
		status.Sync.AfterOperation = s.ID
	}
	if err != nil {
		p.conditions(compareConditions, condition(v1alpha1.ConditionComparisonError, err.Error()))
		status.Sync.Status, status.Sync.Digest = v1alpha1.SyncStatusUnknown, ""
		for i := range status.Resources {
			status.Resources[i].Status = v1alpha1.SyncStatusUnknown
		}
		p.health(v1alpha1.HealthUnknown)
		p.soon(5 * time.Second)
		return
	}
	status.Sync.Digest = v.manifests.Digest
	status.ControllerNamespace = p.Namespace
	if status.SourceTypes = nil; len(p.app.Spec.Sources) > 0 {
		status.SourceTypes = v.manifests.SourceTypes
	} else if len(v.manifests.SourceTypes) > 0 {
		status.SourceType = v.manifests.SourceTypes[0]
	}
	p.plain = plain(v, p.specOptions())
	p.keepFinalizers(v)
	v.conditions = append(v.conditions, p.surroundings(ctx, v)...)
	p.summarize(ctx, v)
}

// summarize turns pairs into resource statuses and the overall verdict.
func (p *pass) summarize(ctx context.Context, v *view) {
	status := &p.app.Status
	overall, worst := v1alpha1.SyncStatusSynced, v1alpha1.HealthHealthy
	var resources []v1alpha1.ResourceStatus
	live, counted := 0, 0
	images, urls, apps := []string{}, inspect.Links(p.app.Annotations), false
	var faults []error
	for _, pair := range v.pairs {
		r, code, err := p.resource(ctx, v, pair)
		if err != nil {
			faults = append(faults, err)
		}
		if r == nil {
			continue
		}
		resources = append(resources, *r)
		if r.Status == v1alpha1.SyncStatusOutOfSync && !extraneous(pair) || v.forbidden[pair.Key] != nil { // what is forbidden is not deployed
			overall = v1alpha1.SyncStatusOutOfSync
		}
		counted++
		apps = apps || r.Group == v1alpha1.GroupVersion.Group && r.Kind == "Application"
		if pair.Live == nil {
			continue
		}
		live++
		images, urls = append(images, syncplan.Images(pair.Live)...), append(urls, inspect.URLs(pair.Live)...)
		if p.counts(pair, code) && health.Worse(code, worst) {
			worst = code
		}
	}
	if counted > 0 && live == 0 {
		worst = v1alpha1.HealthMissing
	}
	status.Summary = v1alpha1.ApplicationSummary{Images: distinct(images), ExternalURLs: distinct(urls), IsAppOfApps: apps}
	status.Resources = resources
	status.Sync.Status = p.overall(v, overall)
	p.health(worst)
	if len(faults) > 0 {
		v.conditions = append(v.conditions, condition(v1alpha1.ConditionComparisonError, healthFault(faults)))
	}
	p.conditions(compareConditions, append(v.conditions, v.verdicts.conditions()...)...)
}

// distinct sorts texts, each of which is left once; nothing is nil.
func distinct(texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// extraneous says that an object which Git does not have makes no difference.
func extraneous(pair syncplan.Pair) bool {
	return pair.Target == nil && strings.Contains(pair.Live.GetAnnotations()[v1alpha1.AnnotationCompareOptions], "IgnoreExtraneous")
}

// healthFault words why resources could not be judged (spec/diff-health.md
// §9.2): the first reason, and how many more there are.
func healthFault(faults []error) string {
	text := "error setting app health: " + faults[0].Error()
	if more := len(faults) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more errors)", more)
	}
	return text
}

// counts says whether the health of a live object is that of its Application
// too (spec/diff-health.md §9.2).
func (p *pass) counts(pair syncplan.Pair, code v1alpha1.HealthStatusCode) bool {
	app := pair.Key.Group == v1alpha1.GroupVersion.Group && pair.Key.Kind == "Application"
	switch {
	case code == "" || pair.Live.GetAnnotations()[v1alpha1.AnnotationIgnoreHealth] == "true":
		return false
	case app && pair.Live.GetUID() == p.app.UID:
		return false
	case app && (code == v1alpha1.HealthMissing || code == v1alpha1.HealthUnknown):
		return false
	}
	return true
}

// resource describes one pair; code is empty when its health does not count.
func (p *pass) resource(ctx context.Context, v *view, pair syncplan.Pair) (*v1alpha1.ResourceStatus, v1alpha1.HealthStatusCode, error) {
	any := pair.Target
	if any == nil {
		any = pair.Live
	}
	gvk := any.GroupVersionKind()
	r := &v1alpha1.ResourceStatus{
		Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: pair.Key.Namespace, Name: pair.Key.Name,
		Status: v1alpha1.SyncStatusOutOfSync, SyncWave: int64(syncplan.Wave(any)),
		RequiresDeletionConfirmation: p.asksConfirmation(pair),
	}
	switch {
	case pair.Target != nil && syncplan.Skipped(pair.Target):
		return nil, "", nil
	case v.forbidden[pair.Key] != nil, v.verdicts.unknown[pair.Key] != "":
		r.Status = v1alpha1.SyncStatusUnknown
	case pair.Target == nil:
		r.RequiresPruning = true
	case pair.InSync:
		r.Status = v1alpha1.SyncStatusSynced
	}
	if pair.Live == nil {
		r.Health = &v1alpha1.HealthStatus{Status: v1alpha1.HealthMissing}
		return r, "", nil
	}
	judged := p.verdict(ctx, pair.Live, v.live.Pods(pair.Key))
	if !judged.Known {
		return r, "", nil
	}
	r.Health = &v1alpha1.HealthStatus{Status: judged.Code, Message: judged.Message}
	return r, judged.Code, judged.Err
}
