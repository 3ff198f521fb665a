package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// write is one object on its way to the API server, or only a question how
// it would arrive there.
type write struct {
	*Connection
	resource dynamic.ResourceInterface
	obj      *unstructured.Unstructured
	manner   syncplan.Manner
	dryRun   bool
	// refused is why server-side apply could not take the object.
	refused error
}

func (c *Connection) write(obj *unstructured.Unstructured, m syncplan.Manner, dryRun bool) (*write, error) {
	r, err := c.resource(obj.GroupVersionKind(), obj.GetNamespace())
	if err != nil {
		return nil, err
	}
	return &write{Connection: c, resource: r, obj: diff.Prepare(obj), manner: m, dryRun: dryRun}, nil
}

// Applied is the outcome of an Apply.
type Applied struct {
	// Message such as "deployment.apps/web serverside-applied".
	Message string
	// Warning says that the object was written in another manner than asked
	// for, and why; empty when it was not.
	Warning string
}

// Apply makes the live object have the fields of obj, in the manner its sync
// options ask for. An object that server-side apply refuses for reasons of its
// schema is applied client-side, with a warning.
func (c *Connection) Apply(ctx context.Context, obj *unstructured.Unstructured, m syncplan.Manner) (Applied, error) {
	release, err := c.slot(ctx)
	if err != nil {
		return Applied{}, err
	}
	defer release()
	w, err := c.write(obj, m, false)
	if err != nil {
		return Applied{}, err
	}
	done, verb, err := w.carryOut(ctx)
	c.count("apply", err)
	if err != nil {
		return Applied{}, c.explained(obj, err)
	}
	c.remember(done)
	out := Applied{Message: w.name() + " " + verb}
	if verb == updated {
		out.Message = obj.GetKind() + "/" + obj.GetName() + " " + verb
	}
	if w.refused != nil {
		out.Message += " client-side"
		out.Warning = fmt.Sprintf("%s was applied client-side, for server-side apply refused it: %s", w.name(), Brief(obj, w.refused))
	}
	return out, nil
}

// tooLong is how an API server refuses annotations that take too much room,
// which is mostly the copy that a client-side apply keeps there.
const tooLong = "metadata.annotations: Too long"

// Brief words the refusal of an object without the patch that some of them
// quote; that of a Secret by its kind only, for the text may quote a value. To
// annotations that are too long it says what helps (spec/sync.md §3).
func Brief(o *unstructured.Unstructured, err error) string {
	text := brief(o, err)
	if strings.Contains(err.Error(), tooLong) {
		text += ": apply it with sync option ServerSideApply=true, or Replace=true, which keep no copy of the object in its annotations"
	}
	return text
}

func brief(o *unstructured.Unstructured, err error) string {
	if o.GetKind() == "Secret" && o.GroupVersionKind().Group == "" && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		word := string(apierrors.ReasonForError(err))
		if word == "" {
			word = "not valid"
		}
		return fmt.Sprintf("Secret %s: %s (details are withheld, for they may show a value)", o.GetName(), word)
	}
	text := err.Error()
	if i := strings.Index(text, "strict decoding error:"); i >= 0 {
		return fmt.Sprintf("%s %s: %s", o.GetKind(), o.GetName(), text[i:])
	}
	return text
}

// name is kind.group/name in lower case.
func (w *write) name() string {
	kind := strings.ToLower(w.obj.GetKind())
	if g := w.obj.GroupVersionKind().Group; g != "" {
		kind += "." + g
	}
	return kind + "/" + w.obj.GetName()
}

func (w *write) carryOut(ctx context.Context) (*unstructured.Unstructured, string, error) {
	switch w.manner.Mode {
	case syncplan.Replace:
		return w.replace(ctx)
	case syncplan.ClientSide:
		return w.clientSide(ctx)
	}
	if live := w.live(object.KeyOf(w.obj)); w.rebound(live) {
		return w.recreate(ctx, w.obj, live)
	}
	if !w.dryRun && w.manner.Migrate {
		if err := w.migrate(ctx); err != nil {
			return nil, "", err
		}
	}
	done, err := w.serverSide(ctx)
	if schemaRefusal(err) {
		w.refused, w.manner.Validate = err, false
		return w.clientSide(ctx)
	}
	return done, "serverside-applied", err
}

// schemaRefusal says that server-side apply cannot express the object: keys
// of a list that repeat, or fields that the schema does not declare.
func schemaRefusal(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "duplicate entries for key") || strings.Contains(text, "field not declared in schema") ||
		strings.Contains(text, "strict decoding error: unknown field")
}

func (w *write) dryRunOption() []string {
	if w.dryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

func (w *write) validation() string {
	if w.manner.Validate {
		return metav1.FieldValidationStrict
	}
	return metav1.FieldValidationIgnore
}

func (w *write) serverSide(ctx context.Context) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(w.obj)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.KeyOf(w.obj), err)
	}
	force := true
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return w.resource.Patch(bounded, w.obj.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{
		FieldManager: diff.Manager, Force: &force, DryRun: w.dryRunOption(), FieldValidation: w.validation(),
	})
}

// migrateAttempts bounds the repetitions when others write at the same time.
const migrateAttempts = 3

// migrate takes over, once, the fields that client-side tools own
// (spec/sync.md §8.2).
func (w *write) migrate(ctx context.Context) error {
	live := w.live(object.KeyOf(w.obj))
	if live == nil || !diff.ClientSide(live, w.manner.Managers...) {
		return nil
	}
	var err error
	for range migrateAttempts {
		if err = w.migrateOnce(ctx); !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("Failed to perform client-side apply migration for %s: %w", w.name(), err) //nolint:staticcheck // tools match on this text
	}
	return nil
}

func (w *write) migrateOnce(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	fresh, err := w.resource.Get(bounded, w.obj.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	managers := sets.New(diff.ClientSideManagers...).Insert(w.manner.Managers...)
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(fresh, managers, diff.Manager)
	if err != nil || patch == nil {
		return err
	}
	_, err = w.resource.Patch(bounded, w.obj.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: diff.Manager})
	return err
}
