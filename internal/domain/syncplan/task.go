package syncplan

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Phase is a part of an operation; phases run in the order of this list.
type Phase string

// The phases of an operation. PreDelete and PostDelete belong to the deletion
// of an Application and never run in a sync.
const (
	PreSync    Phase = "PreSync"
	Sync       Phase = "Sync"
	PostSync   Phase = "PostSync"
	SyncFail   Phase = "SyncFail"
	PreDelete  Phase = "PreDelete"
	PostDelete Phase = "PostDelete"
	skip       Phase = "Skip"
)

func (p Phase) rank() int {
	switch p {
	case PreSync:
		return 0
	case Sync:
		return 1
	case PostSync:
		return 2
	}
	return 3
}

// DeletePolicy says when a hook object is removed.
type DeletePolicy string

// The delete policies; BeforeHookCreation is the default.
const (
	BeforeHookCreation DeletePolicy = "BeforeHookCreation"
	HookSucceeded      DeletePolicy = "HookSucceeded"
	HookFailed         DeletePolicy = "HookFailed"
)

// Annotations read here; the argocd ones win over the helm ones.
const (
	annotationHook         = "argocd.argoproj.io/hook"
	annotationDeletePolicy = "argocd.argoproj.io/hook-delete-policy"
	annotationWave         = "argocd.argoproj.io/sync-wave"
	annotationOptions      = "argocd.argoproj.io/sync-options"
	annotationHelmHook     = "helm.sh/hook"
	annotationHelmPolicy   = "helm.sh/hook-delete-policy"
	annotationHelmWeight   = "helm.sh/hook-weight"
)

var helmPhases = map[string]Phase{
	"pre-install": PreSync, "pre-upgrade": PreSync,
	"post-install": PostSync, "post-upgrade": PostSync,
	"pre-delete": PreDelete, "post-delete": PostDelete,
}

var helmPolicies = map[string]DeletePolicy{
	"before-hook-creation": BeforeHookCreation,
	"hook-succeeded":       HookSucceeded,
	"hook-failed":          HookFailed,
}

// Task is one object in one phase of an operation.
type Task struct {
	Phase Phase
	Wave  int
	Key   object.Key
	// Target is the desired object; nil means prune.
	Target *unstructured.Unstructured
	// Live is the object on the cluster; nil means missing.
	Live *unstructured.Unstructured
	Hook bool
	// DeletePolicies of a hook, never empty for one.
	DeletePolicies []DeletePolicy
	// PruneRefused says why a prune is not carried out; empty when it is.
	PruneRefused string
	// Unconfirmed says that a prune waits for somebody's approval.
	Unconfirmed bool
	// Manner is how the target is written.
	Manner Manner
	// Identical says that live is known to be what an apply would make of it,
	// ignored fields included, so that nothing need be sent.
	Identical bool
	// Created says that the task is the namespace which the operation itself
	// provides, and which Git does not name.
	Created bool
}

// Prune says that the task removes an object.
func (t Task) Prune() bool { return t.Target == nil }

// Name is kind.group/name in lower case, as command lines print objects.
func (t Task) Name() string {
	kind := strings.ToLower(t.Key.Kind)
	if t.Key.Group != "" {
		kind += "." + t.Key.Group
	}
	return kind + "/" + t.Key.Name
}

// ID names the task among the results of its operation.
func (t Task) ID() TaskID { return TaskID{Key: t.Key, Phase: t.Phase} }

func (t Task) has(policy DeletePolicy) bool {
	for _, p := range t.DeletePolicies {
		if p == policy {
			return true
		}
	}
	return false
}

// TaskID identifies a task across the steps of an operation.
type TaskID struct {
	Key   object.Key
	Phase Phase
}

// Result is what is known about a task that has been attempted.
type Result struct {
	// Status is Synced, SyncFailed, Pruned or PruneSkipped.
	Status v1alpha1.ResultCode
	// Phase is Running, Succeeded, Failed or Error.
	Phase   v1alpha1.OperationPhase
	Message string
	Images  []string
	// Version is the API version the object was applied with.
	Version string
}

func (r Result) completed() bool {
	return r.Phase == v1alpha1.OperationSucceeded || r.failed()
}

func (r Result) failed() bool {
	return r.Phase == v1alpha1.OperationFailed || r.Phase == v1alpha1.OperationError
}

// HookPhases lists the phases in which obj runs as a hook; hook is false for
// an ordinary object. A hook without a usable phase yields no phases and is
// ignored altogether (spec/sync.md §4.1).
func HookPhases(obj *unstructured.Unstructured) (phases []Phase, hook bool) {
	if raw, ok := annotation(obj, annotationHook); ok {
		values := list(raw)
		for _, v := range values {
			switch p := Phase(v); p {
			case PreSync, Sync, PostSync, SyncFail, PreDelete, PostDelete:
				phases = append(phases, p)
			}
		}
		return phases, true
	}
	raw, ok := annotation(obj, annotationHelmHook)
	if !ok {
		return nil, false
	}
	for _, v := range list(raw) {
		if v == "crd-install" {
			return nil, false
		}
		if p, known := helmPhases[v]; known && !containsPhase(phases, p) {
			phases = append(phases, p)
		}
	}
	return phases, true
}

// Skipped says that obj is marked to be neither applied nor counted.
func Skipped(obj *unstructured.Unstructured) bool {
	text, _ := annotation(obj, annotationHook)
	values := list(text)
	return len(values) == 1 && Phase(values[0]) == skip
}

func containsPhase(in []Phase, p Phase) bool {
	for _, x := range in {
		if x == p {
			return true
		}
	}
	return false
}

// deletePolicies of a hook: both vocabularies, BeforeHookCreation by default.
func deletePolicies(obj *unstructured.Unstructured) []DeletePolicy {
	var out []DeletePolicy
	for _, v := range list(obj.GetAnnotations()[annotationDeletePolicy]) {
		switch p := DeletePolicy(v); p {
		case BeforeHookCreation, HookSucceeded, HookFailed:
			out = append(out, p)
		}
	}
	for _, v := range list(obj.GetAnnotations()[annotationHelmPolicy]) {
		if p, ok := helmPolicies[v]; ok {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return []DeletePolicy{BeforeHookCreation}
	}
	return out
}

// Wave is the sync wave of an object; 0 when it states none that parses.
func Wave(obj *unstructured.Unstructured) int {
	for _, key := range []string{annotationWave, annotationHelmWeight} {
		text, _ := annotation(obj, key)
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
			return n
		}
	}
	return 0
}

// Option says whether obj carries the sync option, for example "Prune=false".
func Option(obj *unstructured.Unstructured, option string) bool {
	if obj == nil {
		return false
	}
	text, ok := annotation(obj, annotationOptions)
	return ok && slices.Contains(list(text), option)
}

// annotation reads one annotation without copying the others.
func annotation(obj *unstructured.Unstructured, name string) (string, bool) {
	v, _, err := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "annotations", name)
	text, ok := v.(string)
	return text, ok && err == nil
}

// list splits a comma list, trimmed, without repeats.
func list(raw string) []string {
	var out []string
	seen := map[string]bool{}
	for _, v := range strings.Split(raw, ",") {
		if v = strings.TrimSpace(v); v != "" && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}
