package health

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Script is a rule that is not Go: written by users or shipped as data.
type Script interface {
	// Judge runs the script; known is false when it has nothing to say. An
	// error names the script and what is wrong with it.
	Judge(ctx context.Context, o *unstructured.Unstructured) (status Status, known bool, err error)
}

// Rules finds the script of a kind: the exact one before wildcards.
type Rules interface {
	// Find gives nil for a kind without a script.
	Find(group, kind string) Script
}

// Verdict is what is known about the health of one object.
type Verdict struct {
	Status
	// Known is false for an object whose health says nothing.
	Known bool
	// Err says why the object could not be judged; Status is Unknown then.
	Err error
}

// Assessor judges in the order of spec/diff-health.md §9.3. The zero value
// knows the rules in Go only.
type Assessor struct {
	// Custom are the scripts of the settings, Shipped those of the product.
	Custom, Shipped Rules
	// Conventions judges kinds without any rule by the conventions that many
	// controllers keep.
	Conventions bool
}

// Assess judges one live object; pods are the records of its pods, those of
// older ReplicaSets of a Deployment left out.
func (a *Assessor) Assess(ctx context.Context, o *unstructured.Unstructured, pods []object.Pod) Verdict {
	if deleting(o) {
		return Verdict{Status: Status{Progressing, "Pending deletion"}, Known: true}
	}
	if s := a.script(o); s != nil {
		return verdict(s.Judge(ctx, o))
	}
	return unscripted(o, pods, a.Conventions)
}

// Unscripted judges an object without scripts: by the rules in Go and by the
// conventions.
func Unscripted(o *unstructured.Unstructured, pods []object.Pod) Verdict {
	if deleting(o) {
		return Verdict{Status: Status{Progressing, "Pending deletion"}, Known: true}
	}
	return unscripted(o, pods, true)
}

func unscripted(o *unstructured.Unstructured, pods []object.Pod, conventions bool) Verdict {
	v := verdict(BuiltIn(o, pods))
	if !v.Known && conventions {
		v = verdict(conventional(o))
	}
	return v
}

// Scripted says that a script decides, so that the verdict depends on the
// object alone and may be remembered.
func (a *Assessor) Scripted(o *unstructured.Unstructured) bool {
	return !deleting(o) && a.script(o) != nil
}

func (a *Assessor) script(o *unstructured.Unstructured) Script {
	gvk := o.GroupVersionKind()
	for _, rules := range []Rules{a.Custom, a.Shipped} {
		if rules == nil {
			continue
		}
		if s := rules.Find(gvk.Group, gvk.Kind); s != nil {
			return s
		}
	}
	return nil
}

func verdict(s Status, known bool, err error) Verdict {
	if err != nil {
		return Verdict{Status: Status{Unknown, err.Error()}, Known: true, Err: err}
	}
	return Verdict{Status: s, Known: known}
}

// conventional judges by observedGeneration and the conditions Stalled,
// Reconciling and Ready, as kstatus does. An object that has none of them
// says nothing about its health.
func conventional(o *unstructured.Unstructured) (Status, bool, error) {
	gvk := o.GroupVersionKind()
	if gvk.Group == "argoproj.io" && gvk.Kind == "Application" {
		return Status{}, false, nil // §9.4: users decide whether it counts
	}
	_, observed := at(o.Object, "status", "observedGeneration").(int64)
	stalled, reconciling, ready := condition(o, "Stalled"), condition(o, "Reconciling"), condition(o, "Ready")
	switch {
	case observed && lagging(o):
		return Status{Progressing, "waiting for the newest generation to be observed"}, true, nil
	case stalled.status == "True":
		return Status{Degraded, stalled.said()}, true, nil
	case reconciling.status == "True":
		return Status{Progressing, reconciling.said()}, true, nil
	case ready.status == "True":
		return Status{Healthy, ready.message}, true, nil
	case ready.kind != "":
		return Status{Progressing, ready.said()}, true, nil
	}
	return Status{Code: Healthy}, observed || stalled.kind != "" || reconciling.kind != "", nil
}
