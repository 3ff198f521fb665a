package application

import (
	"context"
	"fmt"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/window"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

func invalid(format string, args ...any) error {
	return fault.New(fault.InvalidArgument, "application spec is invalid: "+format, args...)
}

// normalize fills in what an Application that names no project means.
func normalize(app *v1alpha1.Application) {
	if app.Spec.Project == "" {
		app.Spec.Project = policy.DefaultProject
	}
	if len(app.Spec.Sources) > 0 {
		app.Spec.Source = nil
	}
}

// validate says whether an Application may be as it is (spec/api.md §3, create
// and update validation). Sources are asked for only when reach is set.
func (s *Service) validate(ctx context.Context, app *v1alpha1.Application, reach bool) error {
	if problems := validation.IsDNS1123Subdomain(app.Name); len(problems) > 0 {
		return fault.New(fault.InvalidArgument, "metadata.name %q: %s", app.Name, strings.Join(problems, "; "))
	}
	project, err := s.projectOf(app)
	if err != nil {
		return err
	}
	if err := s.destination(app, project); err != nil {
		return err
	}
	if err := sources(app, project); err != nil {
		return err
	}
	if reach {
		return s.reachable(ctx, app, project)
	}
	return nil
}

func (s *Service) destination(app *v1alpha1.Application, project *v1alpha1.AppProject) error {
	d := app.Spec.Destination
	cluster, err := s.Settings().Clusters.Resolve(d.Server, d.Name)
	if err != nil {
		// A project that does not name the cluster must not tell whether it exists.
		if !named(project, d) {
			return invalid("destination %s is not permitted in project '%s'", where(d), project.Name)
		}
		return invalid("%w", err)
	}
	if !policy.Destination(project, cluster, d.Namespace) {
		return invalid("destination %s is not permitted in project '%s'", where(d), project.Name)
	}
	return nil
}

func where(d v1alpha1.ApplicationDestination) string {
	cluster := "server '" + d.Server + "'"
	if d.Server == "" {
		cluster = "name '" + d.Name + "'"
	}
	return cluster + " and namespace '" + d.Namespace + "'"
}

// named says that some destination of the project could mean the cluster, as
// far as its text goes.
func named(project *v1alpha1.AppProject, d v1alpha1.ApplicationDestination) bool {
	for _, p := range project.Spec.Destinations {
		if d.Server != "" && (p.Server == d.Server || p.Server == "*") || d.Name != "" && (p.Name == d.Name || p.Name == "*" || p.Server == "*") || d.Server == "" && d.Name == "" {
			return true
		}
	}
	return false
}

func sources(app *v1alpha1.Application, project *v1alpha1.AppProject) error {
	all := app.Spec.GetSources()
	if len(all) == 0 && app.Spec.SourceHydrator == nil {
		return invalid("spec.source and spec.sources are both empty: one source is needed")
	}
	names := map[string]bool{}
	for i, src := range all {
		at := "spec.source"
		if len(app.Spec.Sources) > 0 {
			at = fmt.Sprintf("spec.sources[%d]", i)
		}
		switch {
		case src.RepoURL == "":
			return invalid("%s.repoURL is empty", at)
		case src.Name != "" && names[src.Name]:
			return invalid("%s.name %q is used twice", at, src.Name)
		case src.Path == "" && src.Chart == "" && src.Ref == "" && !strings.HasPrefix(src.RepoURL, "oci://"):
			return invalid("%s needs a path or a chart", at)
		case src.Path != "" && src.Chart != "":
			return invalid("%s has a path and a chart: only one can be", at)
		case src.Chart != "" && src.TargetRevision == "":
			return invalid("%s.targetRevision is empty: a chart needs a version", at)
		case path.IsAbs(src.Path):
			return invalid("%s.path %q is absolute: paths are relative to the root of the repository", at, src.Path)
		}
		names[src.Name] = true
		if !policy.Source(project, src.RepoURL) {
			return invalid("application repo %s is not permitted in project '%s'", repo.Redact(src.RepoURL), project.Name)
		}
	}
	return nil
}

// reachable asks every source for its revision, and that for its path.
func (s *Service) reachable(ctx context.Context, app *v1alpha1.Application, project *v1alpha1.AppProject) error {
	if s.renderer() == nil {
		return nil
	}
	for _, src := range app.Spec.GetSources() {
		revision, err := s.renderer().Resolve(ctx, project.Name, src, true)
		if err != nil {
			return invalid("%s: %w", repo.Redact(src.RepoURL), err)
		}
		if src.Path == "" || strings.HasPrefix(src.RepoURL, "oci://") {
			continue
		}
		tree, err := s.renderer().Tree(ctx, project.Name, src.RepoURL, revision, false)
		if err != nil {
			return invalid("%s at %s: %w", repo.Redact(src.RepoURL), revision, err)
		}
		if _, err := tree.Stat(src.Path); err != nil {
			return invalid("%s: app path does not exist at revision %s", src.Path, revision)
		}
	}
	return nil
}

// windowsOf reads the sync windows of a project that concern an Application.
func windowsOf(project *v1alpha1.AppProject, app *v1alpha1.Application) window.Assigned {
	return window.ParseProject(project.Spec.SyncWindows).Assign(app)
}

// deleting refuses what an Application that is being deleted cannot do.
func deleting(app *v1alpha1.Application) error {
	if app.DeletionTimestamp != nil {
		return fault.New(fault.FailedPrecondition, "application is deleting")
	}
	return nil
}
