package generate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Concerned names the sets that an event of a webhook concerns. First children
// of matrices are answered as an evaluation would answer them, from what is
// remembered where that is young enough.
func (v *Evaluator) Concerned(ctx context.Context, ev appset.Event) ([]types.NamespacedName, error) {
	var list v1alpha1.ApplicationSetList
	if err := v.Reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list ApplicationSets: %w", err)
	}
	rules, snapshot := v.rules(), v.Settings.Snapshot()
	var out []types.NamespacedName
	for i := range list.Items {
		set := &list.Items[i]
		if set.DeletionTimestamp != nil || !rules.Watches(set.Namespace, v.Namespace) {
			continue
		}
		project := reader(set)
		o := &outside{Evaluator: v, ctx: ctx, rules: rules, set: set, used: map[string]bool{}, own: map[string]answer{}}
		world := appset.World{
			Clusters: snapshot.Clusters, Unusable: snapshot.Unusable, Outside: o, Go: v.Engine, NewGlobs: rules.NewGlobs,
			Tree: func(repoURL, revision string) (tree.Tree, error) {
				return v.Tree(ctx, project, repoURL, revision, false)
			},
		}
		if appset.Concerns(set, ev, world) {
			out = append(out, client.ObjectKeyFromObject(set))
		}
	}
	return out, nil
}

// Hint makes the sets that an event concerns look again now, past everything
// that is remembered: for the receiver of webhooks. It does so by the annotation
// argocd.argoproj.io/application-set-refresh, which stays until an evaluation has
// succeeded, so that a crash loses no hint. It may be called from any process
// that may write sets; the names are those of the sets that were marked.
func (v *Evaluator) Hint(ctx context.Context, hub client.Client, ev appset.Event) ([]types.NamespacedName, error) {
	concerned, err := v.Concerned(ctx, ev)
	if err != nil {
		return nil, err
	}
	annotations, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.AnnotationAppSetRefresh: v.Clock.Now().UTC().Format(time.RFC3339Nano), // a new value: an evaluation under way must not take it off
	}}})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var marked []types.NamespacedName
	var problems []error
	for _, key := range concerned {
		set := &v1alpha1.ApplicationSet{}
		set.Namespace, set.Name = key.Namespace, key.Name
		if err := hub.Patch(ctx, set, client.RawPatch(types.MergePatchType, annotations)); err != nil {
			if client.IgnoreNotFound(err) != nil {
				problems = append(problems, fmt.Errorf("mark ApplicationSet %s: %w", key, err))
			}
			continue
		}
		v.Log.Info("an event makes the set look again", "applicationset", key.String())
		marked = append(marked, key)
	}
	return marked, errors.Join(problems...)
}
