package policy

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Global says which projects inherit the rules of a global project.
type Global struct {
	// Project is the name of the global project.
	Project  string
	selector labels.Selector
}

// maxGlobals bounds the rules that are read.
const maxGlobals = 100

// ParseGlobals reads globalProjects of argocd-cm. The error names the rule and
// the remedy; rules that can be followed are returned beside it
// (spec/application.md §13.3).
func ParseGlobals(text string) ([]Global, error) {
	var rules []struct {
		ProjectName   string               `json:"projectName"`
		LabelSelector metav1.LabelSelector `json:"labelSelector"`
	}
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("globalProjects is no list of projectName and labelSelector: %w", err)
	}
	if len(rules) > maxGlobals {
		return nil, fmt.Errorf("globalProjects has %d rules: at most %d are read, merge some", len(rules), maxGlobals)
	}
	var out []Global
	var problem error
	for i, r := range rules {
		selector, err := metav1.LabelSelectorAsSelector(&r.LabelSelector)
		switch {
		case err != nil:
			problem = fmt.Errorf("globalProjects[%d].labelSelector: %w", i, err)
		case r.ProjectName == "":
			problem = fmt.Errorf("globalProjects[%d].projectName is empty: name the project whose rules are inherited", i)
		default:
			out = append(out, Global{Project: r.ProjectName, selector: selector})
		}
	}
	return out, problem
}

// Inherits says that a project takes over the rules of the global one.
func (g Global) Inherits(project *v1alpha1.AppProject) bool {
	return g.Project != project.Name && g.selector.Matches(labels.Set(project.Labels))
}

// Effective is the project with what it takes over: the repositories that are
// declared for it alone, and lists, windows and accounts of the global projects
// that select it, which find knows. Roles are not inherited. A project that
// takes over nothing is returned as it is; it is never changed
// (spec/application.md §13.3).
func Effective(project *v1alpha1.AppProject, repositories []string, globals []Global, find func(name string) *v1alpha1.AppProject) *v1alpha1.AppProject {
	out, changed := *project, false
	for _, url := range repositories {
		// Whoever may declare a repository for the project must not thereby
		// permit a pattern of them.
		if url == "" || strings.ContainsAny(url, `*?[]{}!\`) {
			continue
		}
		out.Spec.SourceRepos, changed = append(slices.Clip(out.Spec.SourceRepos), url), true
	}
	for _, g := range globals {
		if !g.Inherits(project) {
			continue
		}
		if from := find(g.Project); from != nil {
			inherit(&out.Spec, &from.Spec)
			changed = true
		}
	}
	if !changed {
		return project
	}
	return &out
}

func inherit(into, from *v1alpha1.AppProjectSpec) {
	into.SourceRepos = joined(into.SourceRepos, from.SourceRepos)
	into.Destinations = joined(into.Destinations, from.Destinations)
	into.ClusterResourceWhitelist = joined(into.ClusterResourceWhitelist, from.ClusterResourceWhitelist)
	into.ClusterResourceBlacklist = joined(into.ClusterResourceBlacklist, from.ClusterResourceBlacklist)
	into.NamespaceResourceWhitelist = joined(into.NamespaceResourceWhitelist, from.NamespaceResourceWhitelist)
	into.NamespaceResourceBlacklist = joined(into.NamespaceResourceBlacklist, from.NamespaceResourceBlacklist)
	into.SyncWindows = joined(into.SyncWindows, from.SyncWindows)
	into.DestinationServiceAccounts = joined(into.DestinationServiceAccounts, from.DestinationServiceAccounts)
}

// joined is a new list; it is nil only when both are, for a list of permitted
// kinds that is empty permits nothing and one that is absent everything.
func joined[T any](a, b []T) []T {
	if a == nil && b == nil {
		return nil
	}
	return append(append(make([]T, 0, len(a)+len(b)), a...), b...)
}
