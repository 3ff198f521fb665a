package steer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// Options of a Desk.
type Options struct {
	// Reader may be a cache: views and plans are read from it.
	Reader client.Reader
	// Client reads from the hub itself and writes to it.
	Client client.Client
	// Facts are those of the loop that advances rollouts.
	Facts advance.Facts
	// Evaluate renders all Applications of a set, saved or not, and writes
	// nothing; nil refuses plans.
	Evaluate   func(ctx context.Context, set *v1alpha1.ApplicationSet) (*appset.Rendered, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Desk answers people and takes their requests; it is safe for concurrent use.
type Desk struct {
	Options
	requests *prometheus.CounterVec
}

// New makes a Desk.
func New(o Options) *Desk {
	d := &Desk{Options: o, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "argocd_appset_rollout_requests_total", Help: "What people asked of rollouts, and whether it was granted, refused or failed.",
	}, []string{"namespace", "name", "verb", "result"})}
	o.Registerer.MustRegister(d.requests)
	return d
}

// View says where the rollout of a set stands; nil when the set has none and
// nothing says why. An error that apierrors.IsNotFound says there is no such
// set.
func (d *Desk) View(ctx context.Context, key types.NamespacedName) (*rollout.View, error) {
	var set v1alpha1.ApplicationSet
	if err := d.Reader.Get(ctx, key, &set); err != nil {
		return nil, err
	}
	live, err := d.live(ctx, &set)
	if err != nil {
		return nil, err
	}
	look := rollout.Look{Set: &set, Gate: d.Facts.Gate, Now: d.Facts.Clock.Now()}
	for _, app := range live {
		look.Applications = append(look.Applications, *app)
	}
	return rollout.Explain(look), nil
}

// Plan says what a rollout of a saved set would do if it began now.
func (d *Desk) Plan(ctx context.Context, key types.NamespacedName) (*rollout.Plan, error) {
	var set v1alpha1.ApplicationSet
	if err := d.Reader.Get(ctx, key, &set); err != nil {
		return nil, err
	}
	return d.PlanOf(ctx, &set)
}

// PlanOf is Plan for a manifest, which need not be saved: Applications that a
// saved set of the same name owns count as what it would find.
func (d *Desk) PlanOf(ctx context.Context, set *v1alpha1.ApplicationSet) (*rollout.Plan, error) {
	if !rollout.Rolling(set, d.Facts.Gate) {
		_, why := rollout.Ignored(set, d.Facts.Gate)
		if why == "" {
			why = "spec.strategy.type is not RollingSync: all Applications sync at once"
		}
		return &rollout.Plan{Problem: why, Steps: []rollout.PlanStep{}}, nil
	}
	if d.Evaluate == nil {
		return nil, fmt.Errorf("ApplicationSet %s: this process renders no sets, so it cannot plan: ask the server beside the controllers (sluice all --server)", set.Name)
	}
	live, err := d.live(ctx, set)
	if err != nil {
		return nil, err
	}
	rendered, err := d.Evaluate(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("ApplicationSet %s: %w", set.Name, err)
	}
	plan := d.Facts.Plan(ctx, set, rendered, live)
	for _, problem := range rendered.Errors {
		plan.Incomplete = append(plan.Incomplete, problem.Error())
	}
	plan.Incomplete = append(plan.Incomplete, rendered.Incomplete...)
	return &plan, nil
}

// live are the Applications of the set by name.
func (d *Desk) live(ctx context.Context, set *v1alpha1.ApplicationSet) (map[string]*v1alpha1.Application, error) {
	var list v1alpha1.ApplicationList
	if err := d.Reader.List(ctx, &list, client.InNamespace(set.Namespace)); err != nil {
		return nil, fmt.Errorf("list Applications: %w", err)
	}
	out := map[string]*v1alpha1.Application{}
	for i := range list.Items {
		app := &list.Items[i]
		ref := metav1.GetControllerOf(app)
		if ref != nil && ref.Kind == v1alpha1.ApplicationSetKind && ref.Name == set.Name && (set.UID == "" || ref.UID == set.UID) {
			out[app.Name] = app
		}
	}
	return out, nil
}

// attempts bounds how often a request is made anew because somebody else wrote
// in between.
const attempts = 5

// Ask carries out what a user asks; the note says what he may not expect.
// Errors that are a *rollout.Refusal say why not; others are those of the hub.
// Whether the user may ask is decided before.
func (d *Desk) Ask(ctx context.Context, key types.NamespacedName, ask rollout.Ask, user string) (note string, err error) {
	result := "granted"
	for range attempts {
		if note, err = d.try(ctx, key, ask, user); !apierrors.IsConflict(err) {
			break
		}
	}
	verb, misread := rollout.ReadVerb(string(ask.Verb))
	if misread != nil {
		return "", misread
	}
	var refusal *rollout.Refusal
	switch {
	case errors.As(err, &refusal):
		result = "refused"
	case err != nil:
		result = "failed"
	}
	if !apierrors.IsNotFound(err) { // names that do not exist are made up by users
		d.requests.WithLabelValues(key.Namespace, key.Name, string(verb), result).Inc()
	}
	d.Log.Info("rollout request "+result, "applicationset", key.String(), "verb", string(verb), "rollout", ask.Rollout, "step", ask.Step, "user", user)
	return note, err
}

// try makes a request once, on the set as the hub has it now.
func (d *Desk) try(ctx context.Context, key types.NamespacedName, ask rollout.Ask, user string) (string, error) {
	var set v1alpha1.ApplicationSet
	if err := d.Client.Get(ctx, key, &set); err != nil {
		return "", err
	}
	edit, err := rollout.Request(&set, d.Facts.Gate, ask)
	if err != nil || (len(edit.Set) == 0 && len(edit.Remove) == 0) {
		return edit.Note, err
	}
	annotations := map[string]any{}
	for k, v := range edit.Set {
		annotations[k] = v
	}
	for _, k := range edit.Remove {
		annotations[k] = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": set.ResourceVersion, "annotations": annotations}})
	if err != nil {
		return "", fmt.Errorf("request: %w", err)
	}
	return edit.Note, d.Client.Patch(ctx, &set, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(rollout.Manager(user)))
}
