package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// lastApplied is what kubectl writes for itself.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Bare keeps of an object what another hub needs: status too, since history and
// the state of rollouts are there. Owners, uid and versions mean nothing on
// another hub: garbage collection there would delete what names an owner that it
// does not know.
func Bare(o *unstructured.Unstructured, controlPlane string) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{}}
	for key, value := range o.Object {
		if key != "metadata" && key != "operation" {
			out.Object[key] = value
		}
	}
	out = out.DeepCopy()
	meta := map[string]any{"name": o.GetName()}
	if ns := o.GetNamespace(); ns != controlPlane && ns != "" {
		meta["namespace"] = ns
	}
	old, _, _ := unstructured.NestedMap(o.Object, "metadata")
	if notes, ok := old["annotations"].(map[string]any); ok {
		delete(notes, lastApplied)
	}
	for _, field := range []string{"labels", "annotations", "finalizers"} {
		switch v := old[field].(type) {
		case map[string]any:
			if len(v) > 0 {
				meta[field] = v
			}
		case []any:
			if len(v) > 0 {
				meta[field] = v
			}
		}
	}
	out.Object["metadata"] = meta
	settle(out)
	return out
}

// settle drops an operation that was under way: on a hub that is made anew it
// would bring back, unasked, what was wanted when the backup was made. What is
// wanted now is found by comparison.
func settle(o *unstructured.Unstructured) {
	phase, found, _ := unstructured.NestedString(o.Object, "status", "operationState", "phase")
	if o.GroupVersionKind() == Application && found && !completed(phase) {
		unstructured.RemoveNestedField(o.Object, "status", "operationState")
	}
}

// Write writes objects as one stream of YAML.
func Write(w io.Writer, all []unstructured.Unstructured, controlPlane string) error {
	for i := range all {
		raw, err := yaml.Marshal(Bare(&all[i], controlPlane).Object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", all[i].GetKind(), all[i].GetName(), err)
		}
		if i > 0 {
			raw = append([]byte("---\n"), raw...)
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// maxDocument bounds one object: API servers take none that is larger.
const maxDocument = 16 << 20

// Read reads a backup, that of Argo CD too, and gives its objects bare and in the
// order in which they are restored. What no hub consists of is an error: the file
// is something else.
func Read(r io.Reader, controlPlane string) ([]*unstructured.Unstructured, error) {
	reader := k8syaml.NewYAMLReader(bufio.NewReaderSize(r, 1<<20))
	var out []*unstructured.Unstructured
	first := map[ID]int{}
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
		if len(doc) > maxDocument {
			return nil, fmt.Errorf("document %d has more than %d MiB: no object is so large", n, maxDocument>>20)
		}
		o, err := parse(doc, controlPlane)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		key := IDOf(o, controlPlane)
		if was := first[key]; was > 0 {
			return nil, fmt.Errorf("document %d: %s is in document %d already: remove one of them", n, key, was)
		}
		first[key] = n
		out = append(out, o)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no object")
	}
	slices.SortStableFunc(out, func(a, b *unstructured.Unstructured) int {
		return slices.Index(Order, a.GroupVersionKind()) - slices.Index(Order, b.GroupVersionKind())
	})
	return out, strangers(out, controlPlane)
}

func parse(doc []byte, controlPlane string) (*unstructured.Unstructured, error) {
	raw, err := yaml.YAMLToJSON(doc)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &o.Object); err != nil { // whole numbers stay whole
		return nil, err
	}
	switch {
	case !slices.Contains(Order, o.GroupVersionKind()):
		return nil, fmt.Errorf("a %s, which no backup holds", o.GroupVersionKind())
	case o.GetName() == "":
		return nil, fmt.Errorf("a %s without metadata.name", o.GetKind())
	}
	return Bare(o, controlPlane), nil
}

// strangers is an error for Secrets and config maps that are nobody's.
func strangers(all []*unstructured.Unstructured, controlPlane string) error {
	named := map[ID]bool{}
	for _, set := range all {
		for _, id := range References(set, controlPlane) {
			named[id] = true
		}
	}
	for _, o := range all {
		if id := IDOf(o, controlPlane); id.Kind == ConfigMap && named[id] {
			for _, token := range Tokens(o, controlPlane) {
				named[token] = true
			}
		}
	}
	for _, o := range all {
		if id := IDOf(o, controlPlane); !Belongs(o) && !named[id] {
			return fmt.Errorf("%s is no part of a hub, and is not touched: remove it from the file", id)
		}
	}
	return nil
}
