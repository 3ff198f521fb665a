package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// restoreFlags are those of import.
type restoreFlags struct {
	scope
	dryRun, prune, override, ignoreTracking, stopOperation, verbose bool
	skip                                                            string
}

func (v *verbs) restore() *cobra.Command {
	f := &restoreFlags{}
	c := &cobra.Command{Use: "import SOURCE", Short: "Create and update what a file of export holds, - is the input", Args: command.Args(1, 1)}
	fs := c.Flags()
	fs.BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	fs.BoolVar(&f.prune, "prune", false, "delete what the file does not hold; what Applications manage stays")
	fs.BoolVar(&f.override, "override-on-conflict", false, "write anew when somebody else writes at the same time")
	fs.BoolVar(&f.ignoreTracking, "ignore-tracking", false, "do not take over annotations and labels by which Applications track objects")
	fs.BoolVar(&f.stopOperation, "stop-operation", false, "end operations that run")
	fs.BoolVar(&f.verbose, "verbose", false, "also name what is unchanged")
	fs.StringVar(&f.skip, "skip-resources-with-label", "", "leave out what has the label KEY=VALUE")
	f.register(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		began := v.Dialer.Console.Clock.Now()
		raw, err := v.Dialer.Console.ReadFile(args[0])
		if err != nil {
			return err
		}
		h, err := v.connect()
		if err != nil {
			return err
		}
		wanted, err := backup(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err := v.bring(cmd.Context(), h, f, wanted); err != nil {
			return err
		}
		v.Dialer.Console.Printf("Import process completed successfully in namespace %s at %s, duration: %s\n",
			h.namespace, v.Dialer.Console.Clock.Now().Format("2006-01-02T15:04:05Z07:00"), v.Dialer.Console.Clock.Since(began))
		return nil
	}
	return c
}

// backup reads the documents of an export, in the order in which they are
// restored. Kinds that no export holds are errors: the file is something else.
func backup(raw []byte) ([]*unstructured.Unstructured, error) {
	reader := k8syaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	var out []*unstructured.Unstructured
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &o.Object); err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		switch {
		case !slices.Contains(order, o.GroupVersionKind()):
			return nil, fmt.Errorf("document %d is a %s, which no export holds", n, o.GroupVersionKind())
		case o.GetName() == "":
			return nil, fmt.Errorf("document %d: a %s without metadata.name", n, o.GetKind())
		case !belongs(o):
			return nil, fmt.Errorf("document %d: %s %s does not belong to the control plane, and is not touched", n, o.GetKind(), o.GetName())
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no object")
	}
	slices.SortStableFunc(out, func(a, b *unstructured.Unstructured) int {
		return slices.Index(order, a.GroupVersionKind()) - slices.Index(order, b.GroupVersionKind())
	})
	return out, nil
}

// id names an object.
type id struct {
	kind            schema.GroupVersionKind
	namespace, name string
}

func idOf(o *unstructured.Unstructured, controlPlane string) id {
	ns := o.GetNamespace()
	if ns == "" {
		ns = controlPlane
	}
	return id{o.GroupVersionKind(), ns, o.GetName()}
}

// bring makes the hub hold what is wanted.
func (v *verbs) bring(ctx context.Context, h *hub, f *restoreFlags, wanted []*unstructured.Unstructured) error {
	all, err := h.everything(ctx, f.scope)
	if err != nil {
		return err
	}
	there := map[id]*unstructured.Unstructured{}
	for i := range all {
		there[idOf(&all[i], h.namespace)] = &all[i]
	}
	for _, o := range wanted {
		key := idOf(o, h.namespace)
		live := there[key]
		delete(there, key)
		if f.skips(o) {
			continue
		}
		if !f.matches(key.kind, key.namespace, h.namespace) {
			return fail.New("add --application-namespaces or --applicationset-namespaces", "%s %s/%s is in a namespace that is not restored", o.GetKind(), key.namespace, key.name)
		}
		o.SetNamespace(key.namespace)
		if err := v.one(ctx, h, f, o, live); err != nil {
			return fmt.Errorf("%s %s/%s: %w", o.GetKind(), key.namespace, key.name, err)
		}
	}
	return v.pruned(ctx, h, f, there)
}

func (f *restoreFlags) skips(o *unstructured.Unstructured) bool {
	k, value, ok := strings.Cut(f.skip, "=")
	return ok && o.GetLabels()[k] == value
}

// say writes a line about an object.
func (v *verbs) say(f *restoreFlags, o *unstructured.Unstructured, word string) {
	if word == "unchanged" && !f.verbose {
		return
	}
	if f.dryRun && word != "unchanged" && word != "needs pruning" {
		word += " (dry run)"
	}
	v.Dialer.Console.Printf("%s/%s %s in namespace %s %s\n", o.GroupVersionKind().Group, o.GetKind(), o.GetName(), o.GetNamespace(), word)
}

// one creates or updates an object.
func (v *verbs) one(ctx context.Context, h *hub, f *restoreFlags, o, live *unstructured.Unstructured) error {
	unstructured.RemoveNestedField(o.Object, "operation")
	if live == nil {
		v.say(f, o, "created")
		if f.dryRun {
			return nil
		}
		return h.create(ctx, o)
	}
	next := merged(o, live, f)
	if reflect.DeepEqual(live.Object, next.Object) {
		v.say(f, o, "unchanged")
		return nil
	}
	v.say(f, o, "updated")
	if f.dryRun {
		return nil
	}
	err := h.update(ctx, next)
	if apierrors.IsConflict(err) && f.override {
		fresh := live.DeepCopy()
		if err := h.client.Get(ctx, client.ObjectKeyFromObject(live), fresh); err != nil {
			return err
		}
		return h.update(ctx, merged(o, fresh, f))
	}
	return err
}

// create makes an object with its status: ApplicationSets keep theirs in a
// subresource, which a creation does not write.
func (h *hub) create(ctx context.Context, o *unstructured.Unstructured) error {
	status, has := o.Object["status"]
	if err := h.client.Create(ctx, o); err != nil {
		return err
	}
	if o.GroupVersionKind() != sets || !has {
		return nil
	}
	o.Object["status"] = status
	return h.client.Status().Update(ctx, o)
}

func (h *hub) update(ctx context.Context, o *unstructured.Unstructured) error {
	status, has := o.Object["status"]
	if err := h.client.Update(ctx, o); err != nil {
		return err
	}
	if o.GroupVersionKind() != sets || !has {
		return nil
	}
	o.Object["status"] = status
	return h.client.Status().Update(ctx, o)
}

// tracking are labels and annotations by which objects are tracked.
var tracking = []string{v1alpha1.LabelInstance, v1alpha1.AnnotationTrackingID}

// merged is the live object with what the backup says.
func merged(o, live *unstructured.Unstructured, f *restoreFlags) *unstructured.Unstructured {
	next := live.DeepCopy()
	for key, value := range o.Object {
		if key != "metadata" && key != "apiVersion" && key != "kind" {
			next.Object[key] = value
		}
	}
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if f.ignoreTracking {
		for _, key := range tracking {
			keep(labels, live.GetLabels(), key)
			keep(annotations, live.GetAnnotations(), key)
		}
	}
	if mine, ok := live.GetAnnotations()[lastApplied]; ok { // it is never exported
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[lastApplied] = mine
	}
	next.SetLabels(labels)
	next.SetAnnotations(annotations)
	next.SetFinalizers(o.GetFinalizers())
	if f.stopOperation {
		unstructured.RemoveNestedField(next.Object, "operation")
		if phase, _, _ := unstructured.NestedString(next.Object, "status", "operationState", "phase"); phase == string(v1alpha1.OperationRunning) {
			_ = unstructured.SetNestedField(next.Object, string(v1alpha1.OperationTerminating), "status", "operationState", "phase") // the path was just read
		}
	}
	return next
}

// keep lets a key of the live object stand.
func keep(into, live map[string]string, key string) {
	if into == nil {
		return
	}
	delete(into, key)
	if v, ok := live[key]; ok {
		into[key] = v
	}
}

// pruned deletes what the backup does not hold, or says that it could be.
// Applications lose their finalizers first: what runs on clusters stays.
func (v *verbs) pruned(ctx context.Context, h *hub, f *restoreFlags, left map[id]*unstructured.Unstructured) error {
	var names []id
	for key := range left {
		names = append(names, key)
	}
	slices.SortFunc(names, func(a, b id) int {
		if c := slices.Index(order, b.kind) - slices.Index(order, a.kind); c != 0 {
			return c // sets before Applications: they would make them again
		}
		return strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name)
	})
	for _, key := range names {
		o := left[key]
		if f.skips(o) {
			continue
		}
		if !f.prune {
			v.say(f, o, "needs pruning")
			continue
		}
		v.say(f, o, "pruned")
		if f.dryRun {
			continue
		}
		if (key.kind == apps || key.kind == sets) && len(o.GetFinalizers()) > 0 {
			o.SetFinalizers(nil)
			if err := h.client.Update(ctx, o); err != nil {
				return fmt.Errorf("%s %s: %w", key.kind.Kind, key.name, err)
			}
		}
		if err := h.client.Delete(ctx, o, client.PropagationPolicy("Orphan")); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("%s %s: %w", key.kind.Kind, key.name, err)
		}
	}
	return nil
}
