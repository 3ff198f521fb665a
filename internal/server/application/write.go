package application

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Reasons of events that the server makes (spec/observability.md §3).
const (
	ReasonCreated          = "ResourceCreated"
	ReasonUpdated          = "ResourceUpdated"
	ReasonDeleted          = "ResourceDeleted"
	ReasonOperationStarted = "OperationStarted"
	ReasonActionRan        = "ResourceActionRan"
)

// CreateRequest creates an Application.
type CreateRequest struct {
	Application v1alpha1.Application `json:"application" body:"*"`
	Upsert      bool                 `json:"upsert,omitempty" query:"upsert"`
	// Validate is true unless given as false.
	Validate *bool `json:"validate,omitempty" query:"validate"`
}

func yes(b *bool) bool { return b == nil || *b }

// Create creates an Application. One that exists already and is equal is
// answered as it is; a different one needs upsert and the right to update.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*v1alpha1.Application, error) {
	app := clean(&q.Application)
	if app.Name == "" {
		return nil, fault.New(fault.InvalidArgument, "metadata.name is empty: an application needs a name")
	}
	if app.Namespace == "" {
		app.Namespace = s.Hub.Namespace
	}
	if !s.Hub.Enabled(app.Namespace) {
		return nil, fault.New(fault.PermissionDenied, "namespace '%s' is not permitted", app.Namespace)
	}
	if err := s.may(c, "create", app); err != nil {
		return nil, err
	}
	if err := s.validate(ctx, app, yes(q.Validate)); err != nil {
		return nil, err
	}
	err := s.Hub.Client.Create(ctx, app)
	if apierrors.IsAlreadyExists(err) {
		return s.upsert(ctx, c, app, q)
	}
	if err != nil {
		return nil, err
	}
	s.Hub.Apps.Wrote(app)
	c.Did(route.Act{Object: app, Reason: ReasonCreated, Message: "created application", After: app})
	return app, nil
}

// clean keeps what a user may write: spec, labels, annotations, finalizers.
func clean(in *v1alpha1.Application) *v1alpha1.Application {
	out := &v1alpha1.Application{Spec: *in.Spec.DeepCopy()}
	out.Name, out.Namespace = in.Name, in.Namespace
	out.Labels, out.Annotations, out.Finalizers = maps.Clone(in.Labels), maps.Clone(in.Annotations), slices.Clone(in.Finalizers)
	normalize(out)
	return out
}

func (s *Service) upsert(ctx context.Context, c *route.Call, wanted *v1alpha1.Application, q *CreateRequest) (*v1alpha1.Application, error) {
	var existing v1alpha1.Application
	if err := s.Hub.Client.Get(ctx, client.ObjectKeyFromObject(wanted), &existing); err != nil {
		return nil, err
	}
	if policy.ProjectName(&existing) != wanted.Spec.Project {
		// Whether it exists is told to those only who may change it there.
		if !c.Can(access.Request{Resource: "applications", Action: "update", Object: s.object(&existing)}) {
			return nil, route.Hidden()
		}
	}
	equal := reflect.DeepEqual(normalized(&existing).Spec, wanted.Spec) && maps.Equal(existing.Labels, wanted.Labels) &&
		maps.Equal(existing.Annotations, wanted.Annotations) && slices.Equal(existing.Finalizers, wanted.Finalizers)
	if equal {
		existing.ManagedFields = nil
		return &existing, nil
	}
	if !q.Upsert {
		return nil, fault.New(fault.InvalidArgument, "existing application spec is different, use upsert flag to force update")
	}
	if err := s.may(c, "update", wanted); err != nil {
		return nil, err
	}
	return s.change(ctx, c, client.ObjectKeyFromObject(wanted), "updated application spec", func(app *v1alpha1.Application) error {
		app.Spec = wanted.Spec
		app.Labels = merged(app.Labels, wanted.Labels)
		app.Annotations = merged(app.Annotations, wanted.Annotations)
		app.Finalizers = wanted.Finalizers
		return nil
	})
}

func normalized(app *v1alpha1.Application) *v1alpha1.Application {
	out := app.DeepCopy()
	normalize(out)
	return out
}

func merged(into, from map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, into)
	maps.Copy(out, from)
	return out
}

// writeAttempts bounds how often a write is repeated because somebody else
// wrote at the same time.
const writeAttempts = 10

// change reads an Application, lets edit change it and writes it, again when
// somebody else wrote meanwhile.
func (s *Service) change(ctx context.Context, c *route.Call, key types.NamespacedName, message string, edit func(*v1alpha1.Application) error) (*v1alpha1.Application, error) {
	var err error
	for range writeAttempts {
		var before v1alpha1.Application
		if err = s.Hub.Client.Get(ctx, key, &before); err != nil {
			return nil, err
		}
		after := before.DeepCopy()
		if err = edit(after); err != nil {
			return nil, err
		}
		err = s.Hub.Client.Update(ctx, after)
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.Hub.Apps.Wrote(after)
		c.Did(route.Act{Object: after, Reason: ReasonUpdated, Message: message, Before: &before, After: after})
		return after, nil
	}
	return nil, err
}

// UpdateRequest replaces an Application.
type UpdateRequest struct {
	Name        string               `json:"-" path:"name"`
	Application v1alpha1.Application `json:"application" body:"*"`
	Validate    *bool                `json:"validate,omitempty" query:"validate"`
	Project     string               `json:"project,omitempty" query:"project"`
}

// Update replaces spec, labels and annotations.
func (s *Service) Update(ctx context.Context, c *route.Call, q *UpdateRequest) (*v1alpha1.Application, error) {
	if q.Application.Name != "" && q.Name != "" && q.Application.Name != q.Name {
		return nil, fault.New(fault.InvalidArgument, "metadata.name is %q and the URL names %q", q.Application.Name, q.Name)
	}
	name := q.Name
	if name == "" {
		name = q.Application.Name
	}
	app, err := s.find(c, Target{Name: name, AppNamespace: q.Application.Namespace, Project: q.Project}, "update")
	if err != nil {
		return nil, err
	}
	return s.replace(ctx, c, app, edited{app: &q.Application, reach: yes(q.Validate), message: "updated application spec"})
}

// edited is what an Application is to become.
type edited struct {
	app     *v1alpha1.Application
	reach   bool
	message string
}

// replace checks a changed Application in its old and its new project and
// writes it.
func (s *Service) replace(ctx context.Context, c *route.Call, old *v1alpha1.Application, e edited) (*v1alpha1.Application, error) {
	wanted := clean(e.app)
	wanted.Name, wanted.Namespace = old.Name, old.Namespace
	if wanted.Spec.Project != policy.ProjectName(old) {
		for _, action := range []string{"update", "create"} {
			if err := s.may(c, action, wanted); err != nil {
				return nil, err
			}
		}
	}
	if err := s.validate(ctx, wanted, e.reach); err != nil {
		return nil, err
	}
	return s.change(ctx, c, client.ObjectKeyFromObject(old), e.message, func(app *v1alpha1.Application) error {
		if policy.ProjectName(app) != policy.ProjectName(old) || app.UID != old.UID {
			return fault.New(fault.Aborted, "the application has moved to another project or was made anew: read it again")
		}
		app.Spec, app.Labels, app.Finalizers = wanted.Spec, wanted.Labels, finalizers(app, wanted)
		refresh, asked := app.Annotations[v1alpha1.AnnotationRefresh]
		app.Annotations = maps.Clone(wanted.Annotations)
		if asked && app.Annotations[v1alpha1.AnnotationRefresh] == "" {
			app.Annotations = merged(app.Annotations, map[string]string{v1alpha1.AnnotationRefresh: refresh})
		}
		return nil
	})
}

// finalizers keeps those of an Application that is being deleted: leaving them
// out would skip what is left to do.
func finalizers(now, wanted *v1alpha1.Application) []string {
	if now.DeletionTimestamp != nil {
		return now.Finalizers
	}
	return wanted.Finalizers
}

// UpdateSpecRequest replaces the spec of an Application.
type UpdateSpecRequest struct {
	Target
	Spec     v1alpha1.ApplicationSpec `json:"spec" body:"*"`
	Validate *bool                    `json:"validate,omitempty" query:"validate"`
}

// UpdateSpec replaces the spec.
func (s *Service) UpdateSpec(ctx context.Context, c *route.Call, q *UpdateSpecRequest) (*v1alpha1.ApplicationSpec, error) {
	app, err := s.find(c, q.Target, "update")
	if err != nil {
		return nil, err
	}
	next := app.DeepCopy()
	next.Spec = q.Spec
	out, err := s.replace(ctx, c, app, edited{app: next, reach: yes(q.Validate), message: "updated application spec"})
	if err != nil {
		return nil, err
	}
	return &out.Spec, nil
}

// PatchRequest patches an Application.
type PatchRequest struct {
	Target
	Patch string `json:"patch"`
	// PatchType is json, the default, or merge.
	PatchType string `json:"patchType"`
}

// maxPatch bounds the operations of a JSON patch.
const maxPatch = 1000

// Patch applies a patch to the whole object and keeps what a user may write.
func (s *Service) Patch(ctx context.Context, c *route.Call, q *PatchRequest) (*v1alpha1.Application, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	if err := s.may(c, "update", app); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(app)
	if err != nil {
		return nil, err
	}
	next, err := patched(raw, q.Patch, q.PatchType)
	if err != nil {
		return nil, err
	}
	var wanted v1alpha1.Application
	if err := json.Unmarshal(next, &wanted); err != nil {
		return nil, fault.New(fault.InvalidArgument, "the patch makes no application: %w", err)
	}
	if wanted.Name != app.Name || wanted.Namespace != app.Namespace {
		return nil, fault.New(fault.InvalidArgument, "the patch changes metadata.name or metadata.namespace: create another application instead")
	}
	return s.replace(ctx, c, app, edited{app: &wanted, reach: true, message: "patched application"})
}

func patched(raw []byte, patch, kind string) ([]byte, error) {
	switch kind {
	case "", "json":
		p, err := jsonpatch.DecodePatch([]byte(patch))
		if err != nil {
			return nil, fault.New(fault.InvalidArgument, "patch is no JSON patch: %w", err)
		}
		if len(p) > maxPatch {
			return nil, fault.New(fault.InvalidArgument, "patch has more than %d operations", maxPatch)
		}
		out, err := p.Apply(raw)
		if err != nil {
			return nil, fault.New(fault.InvalidArgument, "patch does not fit the application: %w", err)
		}
		return out, nil
	case "merge":
		out, err := jsonpatch.MergePatch(raw, []byte(patch))
		if err != nil {
			return nil, fault.New(fault.InvalidArgument, "patch is no JSON merge patch: %w", err)
		}
		return out, nil
	}
	return nil, fault.New(fault.InvalidArgument, "Patch type '%s' is not supported: use json or merge", kind)
}

func mergePatch(v map[string]any) ([]byte, error) { return json.Marshal(v) }

// DeleteRequest deletes an Application.
type DeleteRequest struct {
	Target
	// Cascade, true unless given as false, also deletes what is managed.
	Cascade           *bool  `json:"cascade,omitempty" query:"cascade"`
	PropagationPolicy string `json:"propagationPolicy,omitempty" query:"propagationPolicy"`
}

// Empty is the answer of what has none.
type Empty struct{}

// Delete marks how an Application is to be deleted, and deletes it.
func (s *Service) Delete(ctx context.Context, c *route.Call, q *DeleteRequest) (*Empty, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	if err := s.may(c, "delete", app); err != nil {
		return nil, err
	}
	cascade := yes(q.Cascade)
	finalizer := v1alpha1.FinalizerResources
	switch q.PropagationPolicy {
	case "":
	case "foreground":
		finalizer = v1alpha1.FinalizerResourcesForeground
	case "background":
		finalizer = v1alpha1.FinalizerResourcesBackground
	default:
		return nil, fault.New(fault.InvalidArgument, "invalid propagation policy: %s", q.PropagationPolicy)
	}
	if !cascade && q.PropagationPolicy != "" {
		return nil, fault.New(fault.InvalidArgument, "cannot set propagation policy when cascading is disabled")
	}
	var want []string
	for _, f := range app.Finalizers {
		if !strings.HasPrefix(f, v1alpha1.FinalizerResources) {
			want = append(want, f)
		}
	}
	if cascade {
		want = append(want, finalizer)
	}
	uid := app.UID
	if !slices.Equal(app.Finalizers, want) && (app.DeletionTimestamp == nil || !cascade) {
		if _, err := s.change(ctx, c, client.ObjectKeyFromObject(app), "chose how the application is deleted", func(a *v1alpha1.Application) error {
			if a.UID != uid {
				return fault.New(fault.Aborted, "the application was made anew: read it again")
			}
			a.Finalizers = want
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if err := s.Hub.Client.Delete(ctx, app, client.Preconditions{UID: &uid}); err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	c.Did(route.Act{Object: app, Reason: ReasonDeleted, Message: "deleted application", Before: app})
	return &Empty{}, nil
}
