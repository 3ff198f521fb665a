package applicationset

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// CreateRequest creates a set.
type CreateRequest struct {
	ApplicationSet v1alpha1.ApplicationSet `json:"applicationset" body:"*"`
	Upsert         bool                    `json:"upsert,omitempty" query:"upsert"`
	// DryRun saves nothing and tells which Applications there would be.
	DryRun bool `json:"dryRun,omitempty" query:"dryRun"`
}

// clean keeps what a user may write.
func (s *Service) clean(in *v1alpha1.ApplicationSet) *v1alpha1.ApplicationSet {
	out := &v1alpha1.ApplicationSet{Spec: *in.Spec.DeepCopy()}
	out.Name, out.Namespace = in.Name, in.Namespace
	if out.Namespace == "" {
		out.Namespace = s.Hub.Namespace
	}
	out.Labels, out.Annotations, out.Finalizers = maps.Clone(in.Labels), maps.Clone(in.Annotations), slices.Clone(in.Finalizers)
	return out
}

// check says whether a set may be made by the caller.
func (s *Service) check(c *route.Call, set *v1alpha1.ApplicationSet) error {
	switch {
	case set.Name == "":
		return fault.New(fault.InvalidArgument, "metadata.name is empty: an ApplicationSet needs a name")
	case !s.Hub.Enabled(set.Namespace):
		return fault.New(fault.PermissionDenied, "namespace '%s' is not permitted", set.Namespace)
	case strings.Contains(set.Spec.Template.Spec.Project, "{{"):
		return fault.New(fault.InvalidArgument, "the Argo CD API does not currently support creating ApplicationSets with templated `project` fields")
	case appset.ProjectChoice(set) != "": // the right to create was asked for one project only
		return fault.New(fault.InvalidArgument, "%s, which is not the project of spec.template: name one project alone", appset.ProjectChoice(set))
	}
	if err := c.Must(s.what(set, "create")); err != nil {
		return err
	}
	p, ok := s.Hub.Project(project(set))
	if !ok || !policy.Namespace(p, set.Namespace, s.Hub.Namespace) {
		return fault.New(fault.InvalidArgument, "project %q does not exist, or does not permit namespace %s", project(set), set.Namespace)
	}
	return nil
}

// Create creates a set; one that exists needs upsert and the right to update.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*v1alpha1.ApplicationSet, error) {
	set := s.clean(&q.ApplicationSet)
	if err := s.check(c, set); err != nil {
		return nil, err
	}
	if q.DryRun {
		apps, err := s.render(ctx, set)
		if err != nil {
			return nil, err
		}
		for i := range apps {
			set.Status.Resources = append(set.Status.Resources, v1alpha1.ResourceStatus{
				Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: "Application", Namespace: set.Namespace, Name: apps[i].Name,
			})
		}
		set.Status.ResourcesCount = int64(len(apps))
		return set, nil
	}
	err := s.Hub.Client.Create(ctx, set)
	if apierrors.IsAlreadyExists(err) {
		return s.upsert(ctx, c, set, q.Upsert)
	}
	if err != nil {
		return nil, err
	}
	s.Hub.Sets.Wrote(set)
	c.Did(route.Act{Object: set, Reason: "ResourceCreated", Message: "created ApplicationSet", After: set})
	return set, nil
}

func (s *Service) upsert(ctx context.Context, c *route.Call, wanted *v1alpha1.ApplicationSet, upsert bool) (*v1alpha1.ApplicationSet, error) {
	var before v1alpha1.ApplicationSet
	if err := s.Hub.Client.Get(ctx, client.ObjectKeyFromObject(wanted), &before); err != nil {
		return nil, err
	}
	before.ManagedFields = nil
	if project(&before) != project(wanted) && !c.Can(s.what(&before, "update")) {
		return nil, route.Hidden()
	}
	equal := reflect.DeepEqual(before.Spec, wanted.Spec) && maps.Equal(before.Labels, wanted.Labels) && maps.Equal(before.Annotations, wanted.Annotations)
	switch {
	case equal:
		return &before, nil
	case !upsert:
		return nil, fault.New(fault.InvalidArgument, "existing ApplicationSet spec is different, use upsert flag to force update")
	}
	if err := c.Must(s.what(&before, "update")); err != nil {
		return nil, err
	}
	after := before.DeepCopy()
	after.Spec = wanted.Spec
	after.Labels, after.Annotations = merged(before.Labels, wanted.Labels), merged(before.Annotations, wanted.Annotations)
	if err := s.Hub.Client.Update(ctx, after); err != nil {
		return nil, err
	}
	s.Hub.Sets.Wrote(after)
	c.Did(route.Act{Object: after, Reason: "ResourceUpdated", Message: "updated ApplicationSets spec", Before: &before, After: after})
	return after, nil
}

func merged(into, from map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, into)
	maps.Copy(out, from)
	return out
}

// GenerateRequest renders a set.
type GenerateRequest struct {
	ApplicationSet v1alpha1.ApplicationSet `json:"applicationSet"`
	// Rollout asks for the plan of a rollout, too (spec/progressive-sync.md L15).
	Rollout bool `json:"rollout,omitempty"`
}

// Generated are the Applications that a set gives.
type Generated struct {
	Applications []v1alpha1.Application `json:"applications"`
	// Plan is what a rollout would do if it began now.
	Plan *rollout.Plan `json:"plan,omitempty"`
}

// Generate renders a set without saving it.
func (s *Service) Generate(ctx context.Context, c *route.Call, q *GenerateRequest) (*Generated, error) {
	set := s.clean(&q.ApplicationSet)
	if err := s.check(c, set); err != nil {
		return nil, err
	}
	apps, err := s.render(ctx, set)
	if err != nil {
		return nil, err
	}
	out := &Generated{Applications: apps}
	if q.Rollout {
		d, err := s.desk()
		if err != nil {
			return nil, err
		}
		if out.Plan, err = planned(d.PlanOf(ctx, set)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// render evaluates a set as its controller would.
func (s *Service) render(ctx context.Context, set *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
	if s.Preview != nil {
		if preview := s.Preview(); preview != nil {
			apps, err := preview(ctx, set)
			if fault.Away(err) {
				return nil, err
			}
			if err != nil {
				return nil, fault.New(fault.InvalidArgument, "unable to generate Applications: %w", err)
			}
			if apps == nil {
				apps = []v1alpha1.Application{}
			}
			return apps, nil
		}
	}
	return nil, fault.New(fault.Unavailable, "this server reaches no controller that generates Applications")
}

// Empty is the answer of what has none.
type Empty struct{}

// Delete deletes a set.
func (s *Service) Delete(ctx context.Context, c *route.Call, q *Named) (*Empty, error) {
	set, err := s.find(c, *q, "delete")
	if err != nil {
		return nil, err
	}
	uid := set.UID
	if err := s.Hub.Client.Delete(ctx, set, client.Preconditions{UID: &uid}); err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	c.Did(route.Act{Object: set, Reason: "ResourceDeleted", Message: "deleted ApplicationSets", Before: set})
	return &Empty{}, nil
}
