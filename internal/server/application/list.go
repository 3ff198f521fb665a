package application

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Query selects Applications (ApplicationQuery of the wire).
type Query struct {
	Name            string   `json:"-" query:"name"`
	Refresh         string   `json:"-" query:"refresh"`
	Projects        []string `json:"-" query:"projects,project"`
	ResourceVersion string   `json:"-" query:"resourceVersion"`
	Selector        string   `json:"-" query:"selector"`
	Repo            string   `json:"-" query:"repo"`
	AppNamespace    string   `json:"-" query:"appNamespace"`
	// The fields below are additions of Sluice.
	SyncStatus   []string `json:"-" query:"syncStatus"`
	HealthStatus []string `json:"-" query:"healthStatus"`
	Cluster      []string `json:"-" query:"cluster"`
	Namespace    []string `json:"-" query:"namespace"`
	Set          string   `json:"-" query:"applicationSet"`
}

// ListQuery is Query with a page.
type ListQuery struct {
	Query
	store.Page
}

// List is an answer with many Applications.
type List struct {
	Metadata metav1.ListMeta         `json:"metadata"`
	Items    []*v1alpha1.Application `json:"items"`
}

// columns of Applications.
var columns = store.Columns[*v1alpha1.Application]{
	Texts: func(a *v1alpha1.Application) []string {
		out := []string{a.Name, a.Spec.Project, a.Spec.Destination.Name, a.Spec.Destination.Server, a.Spec.Destination.Namespace}
		for _, src := range a.Spec.GetSources() {
			out = append(out, src.RepoURL, src.Path, src.Chart)
		}
		for k, v := range a.Labels {
			out = append(out, k+"="+v)
		}
		return out
	},
	Sort: map[string]func(*v1alpha1.Application) string{
		"project":     func(a *v1alpha1.Application) string { return a.Spec.Project },
		"health":      func(a *v1alpha1.Application) string { return string(a.Status.Health.Status) },
		"sync":        func(a *v1alpha1.Application) string { return string(a.Status.Sync.Status) },
		"namespace":   func(a *v1alpha1.Application) string { return a.Spec.Destination.Namespace },
		"destination": func(a *v1alpha1.Application) string { return a.Spec.Destination.Name + a.Spec.Destination.Server },
		"created":     func(a *v1alpha1.Application) string { return stamp(&a.CreationTimestamp) },
		"synced": func(a *v1alpha1.Application) string {
			if s := a.Status.OperationState; s != nil {
				return stamp(s.FinishedAt)
			}
			return ""
		},
	},
}

func stamp(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// filter is a Query that was understood.
func (s *Service) filter(q Query) (func(*v1alpha1.Application) bool, error) {
	selector, err := store.Selector(q.Selector)
	if err != nil {
		return nil, err
	}
	if q.AppNamespace != "" && !s.Hub.Enabled(q.AppNamespace) {
		return nil, fault.New(fault.PermissionDenied, "namespace '%s' is not permitted", q.AppNamespace)
	}
	type app = *v1alpha1.Application
	var tests []func(app) bool // only what is asked: a list asks for each of ten thousand
	when := func(asked bool, test func(app) bool) {
		if asked {
			tests = append(tests, test)
		}
	}
	among := func(set []string, values func(app) []string) {
		when(len(set) > 0, func(a app) bool {
			return slices.ContainsFunc(values(a), func(v string) bool { return slices.Contains(set, v) })
		})
	}
	when(q.Name != "", func(a app) bool { return a.Name == q.Name })
	when(q.AppNamespace != "", func(a app) bool { return a.Namespace == q.AppNamespace })
	among(q.Projects, func(a app) []string { return []string{policy.ProjectName(a)} })
	among(q.SyncStatus, func(a app) []string { return []string{string(a.Status.Sync.Status)} })
	among(q.HealthStatus, func(a app) []string { return []string{string(a.Status.Health.Status)} })
	among(q.Namespace, func(a app) []string { return []string{a.Spec.Destination.Namespace} })
	among(q.Cluster, func(a app) []string { return []string{a.Spec.Destination.Name, a.Spec.Destination.Server} })
	when(q.Set != "", func(a app) bool { return ownedBy(a, q.Set) })
	when(!selector.Empty(), func(a app) bool { return selector.Matches(labels.Set(a.Labels)) })
	if q.Repo != "" {
		url := repo.Normalize(q.Repo)
		when(true, func(a app) bool { return reads(a, url) })
	}
	return func(a app) bool {
		for _, fits := range tests {
			if !fits(a) {
				return false
			}
		}
		return true
	}, nil
}

func ownedBy(a *v1alpha1.Application, set string) bool {
	return slices.ContainsFunc(a.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "ApplicationSet" && o.Name == set })
}

func reads(a *v1alpha1.Application, url string) bool {
	return slices.ContainsFunc(a.Spec.GetSources(), func(src v1alpha1.ApplicationSource) bool { return repo.Normalize(src.RepoURL) == url })
}

func (s *Service) visible(c *route.Call, a *v1alpha1.Application) bool {
	return c.Can(access.Request{Resource: "applications", Action: "get", Object: s.object(a)})
}

// List lists the Applications that the caller may see.
func (s *Service) List(_ context.Context, c *route.Call, q *ListQuery) (*List, error) {
	keep, err := s.filter(q.Query)
	if err != nil {
		return nil, err
	}
	all := s.Hub.Apps.Snapshot()
	visible := c.Sieve("applications", "get")
	items, total, err := store.Cut(all, func(a *store.Shared[*v1alpha1.Application]) bool { return keep(a.Object) && visible(a.Name) }, q.Page, columns)
	if err != nil {
		return nil, err
	}
	out := &List{Items: items}
	if items == nil {
		out.Items = []*v1alpha1.Application{}
	}
	out.Metadata.ResourceVersion = all.Version
	out.Metadata.RemainingItemCount = store.Remaining(q.Page, len(items), total)
	out.Metadata.Continue = store.Continue(q.Page, len(items), total)
	return out, nil
}

// GetQuery asks for one Application.
type GetQuery struct {
	Name            string   `json:"-" path:"name"`
	AppNamespace    string   `json:"-" query:"appNamespace"`
	Projects        []string `json:"-" query:"project,projects"`
	Refresh         string   `json:"-" query:"refresh"`
	ResourceVersion string   `json:"-" query:"resourceVersion"`
}

// Get gives one Application; with refresh it asks the controller first and
// waits for it.
func (s *Service) Get(ctx context.Context, c *route.Call, q *GetQuery) (*v1alpha1.Application, error) {
	if len(q.Projects) > 1 {
		return nil, fault.New(fault.InvalidArgument, "multiple projects specified - the get endpoint accepts either zero or one project")
	}
	t := Target{Name: q.Name, AppNamespace: q.AppNamespace}
	if len(q.Projects) == 1 {
		t.Project = q.Projects[0]
	}
	app, err := s.find(c, t, "get")
	if err != nil || q.Refresh == "" {
		return app, err
	}
	kind := v1alpha1.RefreshType(q.Refresh)
	if kind != v1alpha1.RefreshNormal && kind != v1alpha1.RefreshHard {
		return nil, fault.New(fault.InvalidArgument, "parameter refresh: %q is neither normal nor hard", q.Refresh)
	}
	return s.refresh(ctx, app, kind)
}

// refresh annotates the Application and waits until the controller has taken
// the annotation off.
func (s *Service) refresh(ctx context.Context, app *v1alpha1.Application, kind v1alpha1.RefreshType) (*v1alpha1.Application, error) {
	key := client.ObjectKeyFromObject(app)
	watch := s.Hub.Apps.Watch(func(a *v1alpha1.Application) bool { return client.ObjectKeyFromObject(a) == key }, false)
	defer watch.Stop()
	annotations := map[string]any{v1alpha1.AnnotationRefresh: string(kind)}
	if app.Spec.SourceHydrator != nil {
		annotations[v1alpha1.AnnotationHydrate] = string(v1alpha1.RefreshNormal)
	}
	marked, err := s.annotate(ctx, key, annotations)
	if err != nil {
		return nil, err
	}
	for {
		changes, err := watch.Next(ctx)
		if err != nil {
			return nil, fault.Hide(err, fault.DeadlineExceeded, "the controller did not refresh the application in time: is it running?")
		}
		for _, change := range changes {
			now := change.Value.Object
			switch {
			case change.Kind == "DELETED":
				return nil, fault.New(fault.NotFound, "the application was deleted while it was refreshed")
			case now.Annotations[v1alpha1.AnnotationRefresh] == "" && now.ResourceVersion != marked.ResourceVersion:
				return now, nil
			}
		}
	}
}

// annotate merges annotations into an Application; nil removes one.
func (s *Service) annotate(ctx context.Context, key types.NamespacedName, annotations map[string]any) (*v1alpha1.Application, error) {
	app := &v1alpha1.Application{}
	app.Name, app.Namespace = key.Name, key.Namespace
	patch, err := mergePatch(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return nil, err
	}
	if err := s.Hub.Client.Patch(ctx, app, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return nil, err
	}
	s.Hub.Apps.Wrote(app)
	return app, nil
}
