// Package perform carries out resource actions: it asks the scripts what they
// want, checks every object against the project, tries creations by dry run,
// and then writes one after the other (spec/diff-health.md §11). Callers have
// checked that the user may run the action.
package perform

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// ReasonRan is the reason of the event of an action.
const ReasonRan = "ResourceActionRan"

// Cluster is what is needed of the target; *cluster.Connection is one.
type Cluster interface {
	Scope(gvk schema.GroupVersionKind) (namespaced, known bool)
	TryCreate(ctx context.Context, obj *unstructured.Unstructured) error
	Create(ctx context.Context, obj *unstructured.Unstructured) error
	Merge(ctx context.Context, live *unstructured.Unstructured, patch []byte, subresource ...string) error
}

var _ Cluster = (*cluster.Connection)(nil)

// Options of a Service.
type Options struct {
	Shipped *lua.Shipped
	// Runner runs scripts of the settings and bounds them.
	Runner   lua.Runner
	Recorder record.EventRecorder
	Clock    clock.PassiveClock
	Log      *slog.Logger
}

// Service lists and runs actions; it may be used by many goroutines.
type Service struct {
	o   Options
	set atomic.Pointer[customization.Set]
}

// New makes a Service that knows the shipped actions only, until Reload.
func New(o Options) *Service {
	s := &Service{o: o}
	s.Reload(nil)
	return s
}

// Reload takes over argocd-cm; wrong keys are left out and reported by the
// assessment of health, which reads the same ones.
func (s *Service) Reload(config map[string]string) {
	set, _ := customization.Parse(config)
	s.set.Store(set)
}

func (s *Service) actions() *lua.Actions {
	return &lua.Actions{Set: s.set.Load(), Runner: s.o.Runner, Shipped: s.o.Shipped}
}

// List gives the actions of a live object, sorted by name.
func (s *Service) List(ctx context.Context, live *unstructured.Unstructured) ([]action.Action, error) {
	return s.actions().Discover(ctx, live, s.o.Clock.Now())
}

// Request names one action on one live object of an Application.
type Request struct {
	App     *v1alpha1.Application
	Project *v1alpha1.AppProject
	// Destination is the registered cluster, Cluster the connection to it.
	Destination destination.Cluster
	Cluster     Cluster
	Live        *unstructured.Unstructured
	Action      string
	Params      map[string]string
}

// Run carries out an action. Nothing is written unless every object is
// permitted and every creation would be accepted; after that an error says
// what was not written, and what was stays.
func (s *Service) Run(ctx context.Context, r Request) error {
	changes, err := s.actions().Run(ctx, lua.Request{Object: r.Live, Action: r.Action, Params: r.Params, Now: s.o.Clock.Now()})
	if err != nil {
		return err
	}
	for _, c := range changes {
		if err := r.permit(c.Object); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.Operation != action.Create {
			continue
		}
		if err := r.Cluster.TryCreate(ctx, c.Object); err != nil {
			return fmt.Errorf("action %s: create %s: %w", r.Action, named(c.Object), err)
		}
	}
	for _, c := range changes {
		if err := r.write(ctx, c); err != nil {
			return fmt.Errorf("action %s: %s %s: %w", r.Action, c.Operation, named(c.Object), err)
		}
	}
	text := fmt.Sprintf("ran action %s on resource %s", r.Action, named(r.Live))
	s.o.Recorder.Event(r.App, corev1.EventTypeNormal, ReasonRan, text)
	s.o.Log.Info(text, "reason", ReasonRan, "application", r.App.Namespace+"/"+r.App.Name)
	return nil
}

func named(o *unstructured.Unstructured) string {
	gvk := o.GroupVersionKind()
	return gvk.Group + "/" + gvk.Kind + "/" + o.GetName()
}

func (r Request) permit(o *unstructured.Unstructured) error {
	gvk := o.GroupVersionKind()
	namespaced, _ := r.Cluster.Scope(gvk)
	err := policy.Manage(r.Project, r.Destination, policy.Object{
		Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName(), Namespaced: namespaced,
	})
	if err != nil {
		return fmt.Errorf("application is not permitted to manage %s in %s: %w", named(o), o.GetNamespace(), err)
	}
	return nil
}

func (r Request) write(ctx context.Context, c action.Change) error {
	if c.Operation == action.Create {
		return r.Cluster.Create(ctx, c.Object)
	}
	main, status, err := action.Patches(r.Live, c.Object)
	if err != nil {
		return err
	}
	if status != nil {
		err := r.Cluster.Merge(ctx, r.Live, status, "status")
		if apierrors.IsNotFound(err) { // the kind has no status subresource
			if main, err = both(main, status); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	if main == nil {
		return nil
	}
	return r.Cluster.Merge(ctx, r.Live, main)
}

// both joins a patch of the object with one of its status.
func both(main, status []byte) ([]byte, error) {
	out := map[string]any{}
	for _, patch := range [][]byte{main, status} {
		if patch == nil {
			continue
		}
		if err := json.Unmarshal(patch, &out); err != nil {
			return nil, err
		}
	}
	return json.Marshal(out)
}
