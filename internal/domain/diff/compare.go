package diff

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Input is what Compare needs to know about one object.
type Input struct {
	// Desired is what Git asks for, nil when it asks for nothing; Live is what
	// is there, nil when nothing is; Predicted is what an apply would make of
	// Live, nil when one of the others is.
	Desired, Live, Predicted *unstructured.Unstructured
	Ignore                   Ignore
	Options                  Options
}

// Result is the difference of one object as a value. It holds no secret, so
// that it can be shown as it is.
type Result struct {
	Key object.Key
	// Live and Predicted are normalised: without what never counts. Live is
	// nil when the object is missing, Predicted when it is to be pruned.
	Live, Predicted *unstructured.Unstructured
	// Fields are the places that differ, in the order of their paths.
	Fields []Field
	// Modified says that an apply would change something that counts.
	Modified bool
}

// Field is one place that differs.
type Field struct {
	// Path such as spec.containers[name=web].image.
	Path string
	// Live and Desired are JSON values; nil where the field is absent.
	Live, Desired any
}

// Compare finds the fields in which the prediction differs from live. An
// error says why that cannot be known: a rule that is broken or gave no
// answer. A missing object is modified, one to be pruned is not.
func Compare(ctx context.Context, in Input) (Result, error) {
	if err := in.Ignore.Broken(); err != nil {
		return Result{}, err
	}
	switch {
	case in.Live == nil && in.Desired == nil:
		return Result{}, nil
	case in.Live == nil:
		predicted, _ := Masked(in.Options.normal(in.Desired), nil, in.Options.MaskAnnotations)
		return Result{Key: object.KeyOf(in.Desired), Predicted: predicted, Modified: true}, nil
	case in.Desired == nil:
		_, live := Masked(nil, in.Options.normal(in.Live), in.Options.MaskAnnotations)
		return Result{Key: object.KeyOf(in.Live), Live: live}, nil
	}
	predicted, live := in.Options.normal(in.Predicted), in.Options.normal(in.Live)
	if err := strip(ctx, in.Ignore, in.Live, predicted, live); err != nil {
		return Result{}, err
	}
	predicted, live = Masked(predicted, live, in.Options.MaskAnnotations)
	w := walk{quantities: builtIn(in.Live)}
	var set *fieldpath.Set
	if after := owned(in.Predicted); after != nil && !in.Options.Mutations {
		set = after
		if before := setOf(in.Live, func(e entry) bool { return ours(e) || clientSide(e, nil) }); before != nil {
			set = set.Union(before)
		}
	}
	effective, _ := w.value("", predicted.Object, live.Object, set).(map[string]any)
	r := Result{Key: object.KeyOf(in.Live), Live: live, Fields: w.fields, Modified: len(w.fields) > 0}
	r.Predicted = &unstructured.Unstructured{Object: effective}
	return r, nil
}
