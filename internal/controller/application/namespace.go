package application

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

const createNamespace = "CreateNamespace=true"

func (p *pass) namespaceMetadata() *v1alpha1.ManagedNamespaceMetadata {
	if p.app.Spec.SyncPolicy == nil {
		return nil
	}
	return p.app.Spec.SyncPolicy.ManagedNamespaceMetadata
}

func (p *pass) namespaceKey() object.Key {
	return object.Key{Kind: "Namespace", Name: p.app.Spec.Destination.Namespace}
}

// provides says that the object is the namespace whose labels the Application
// manages beside Git: it is never pruned (spec/sync.md §9).
func (p *pass) provides(k object.Key) bool {
	return k == p.namespaceKey() && p.namespaceMetadata() != nil && slices.Contains(p.specOptions(), createNamespace)
}

// namespaceMetadataChanged says that the namespace has other labels or
// annotations than the last sync gave it.
func (p *pass) namespaceMetadataChanged() bool {
	state := p.app.Status.OperationState
	if !slices.Contains(p.specOptions(), createNamespace) || state == nil || state.SyncResult == nil {
		return false
	}
	want, have := p.namespaceMetadata(), state.SyncResult.ManagedNamespaceMetadata
	if want == nil || have == nil {
		return want != have
	}
	return !reflect.DeepEqual(want, have)
}

// destinationNamespace is the task that provides the namespace; nil when Git
// names it, when it is not asked for, or when there is nothing to do.
func (x *execution) destinationNamespace(ctx context.Context, v *view) (*syncplan.Pair, error) {
	key := x.namespaceKey()
	if key.Name == "" || !slices.Contains(x.options(), createNamespace) ||
		slices.ContainsFunc(v.pairs, func(pair syncplan.Pair) bool { return pair.Key == key && pair.Target != nil }) {
		return nil, nil
	}
	metadata := x.namespaceMetadata()
	var live *unstructured.Unstructured
	if _, done := x.results[syncplan.TaskID{Key: key, Phase: syncplan.PreSync}]; !done {
		if x.provided {
			return nil, nil
		}
		var err error
		if live, err = x.conn.Namespace(ctx, key.Name); err != nil {
			return nil, fmt.Errorf("namespace auto creation failed: %w", err)
		}
		if x.provided = live != nil && metadata == nil; x.provided {
			return nil, nil
		}
	}
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": key.Name}}}
	if metadata != nil {
		ns.SetLabels(metadata.Labels)
		ns.SetAnnotations(metadata.Annotations)
	}
	return &syncplan.Pair{Key: key, Target: ns, Live: live}, nil
}
