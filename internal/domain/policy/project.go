package policy

import (
	"fmt"
	"path"
	"strings"

	"github.com/gobwas/glob"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// DefaultProject is the project of an Application that names none.
const DefaultProject = "default"

// ProjectName is the project an Application belongs to: empty means default.
func ProjectName(app *v1alpha1.Application) string {
	if app.Spec.Project == "" {
		return DefaultProject
	}
	return app.Spec.Project
}

// Source says whether the project may read repoURL. Patterns are globs in
// which * stays within a path segment; an entry starting with ! denies.
func Source(project *v1alpha1.AppProject, repoURL string) bool {
	url := repo.Normalize(repoURL)
	permitted := false
	for _, rule := range project.Spec.SourceRepos {
		pattern, negated := strings.CutPrefix(rule, "!")
		hit := pattern == "*" || matchGlob(repo.Normalize(pattern), url, '/')
		if negated {
			if hit {
				return false
			}
			permitted = true
			continue
		}
		permitted = permitted || hit
	}
	return permitted
}

// Destination says whether the project may deploy to namespace of cluster.
func Destination(project *v1alpha1.AppProject, cluster destination.Cluster, namespace string) bool {
	if project.Spec.PermitOnlyProjectScopedClusters && cluster.Project != project.Name {
		return false
	}
	allowed := cluster.Project != "" && cluster.Project == project.Name && scopedNamespace(cluster, namespace)
	for _, d := range project.Spec.Destinations {
		verdict := matchDestination(d, cluster, namespace)
		if verdict == denied {
			return false
		}
		allowed = allowed || verdict == granted
	}
	return allowed
}

func scopedNamespace(cluster destination.Cluster, namespace string) bool {
	if len(cluster.Namespaces) == 0 {
		return true
	}
	for _, n := range cluster.Namespaces {
		if n == namespace {
			return true
		}
	}
	return false
}

type verdict int

const (
	silent verdict = iota
	granted
	denied
)

// matchDestination applies one entry: a negated name that hits denies at
// once; a negated server or namespace denies when the other one matches.
func matchDestination(d v1alpha1.ApplicationDestination, cluster destination.Cluster, namespace string) verdict {
	serverHit, serverNot := matchNegatable(d.Server, cluster.Server)
	nameHit, nameNot := matchNegatable(d.Name, cluster.Name)
	spaceHit, spaceNot := matchNegatable(d.Namespace, namespace)
	clusterOK := (d.Server != "" && serverHit != serverNot) || (d.Name != "" && nameHit != nameNot)
	switch {
	case d.Name != "" && nameNot && nameHit:
		return denied
	case d.Server != "" && serverNot && serverHit && spaceHit != spaceNot:
		return denied
	case spaceNot && spaceHit && clusterOK:
		return denied
	case clusterOK && spaceHit != spaceNot:
		return granted
	}
	return silent
}

// matchNegatable matches value against a pattern that may start with "!".
// hit is the match of the bare pattern.
func matchNegatable(pattern, value string) (hit, negated bool) {
	bare, negated := strings.CutPrefix(pattern, "!")
	return matchGlob(bare, value), negated
}

func matchGlob(pattern, value string, separators ...rune) bool {
	if pattern == "*" && len(separators) == 0 {
		return true
	}
	g, err := glob.Compile(pattern, separators...)
	if err != nil {
		return pattern == value
	}
	return g.Match(value)
}

// Object names what is to be managed.
type Object struct {
	Group, Kind, Namespace, Name string
	Namespaced                   bool
}

// Manage returns nil when the project lets an Application manage the object
// on the cluster, otherwise an error that says what is not permitted.
func Manage(project *v1alpha1.AppProject, cluster destination.Cluster, o Object) error {
	if err := InSight(cluster, o); err != nil {
		return err
	}
	if !kindPermitted(project, o) {
		return fmt.Errorf("resource %s:%s is not permitted in project %s", o.Group, o.Kind, project.Name)
	}
	if o.Namespaced && !Destination(project, cluster, o.Namespace) {
		return fmt.Errorf("namespace %s is not permitted in project '%s'", o.Namespace, project.Name)
	}
	return nil
}

// InSight says why an object cannot be managed on a cluster in namespaced mode
// (spec/config.md §6.1), nil when it can.
func InSight(cluster destination.Cluster, o Object) error {
	switch {
	case len(cluster.Namespaces) == 0:
	case o.Namespaced && !scopedNamespace(cluster, o.Namespace):
		return fmt.Errorf("Namespace %q for %s %q is not managed: add it to the key \"namespaces\" of Secret/%s", o.Namespace, o.Kind, o.Name, cluster.SecretName) //nolint:staticcheck // tools match on this text
	case !o.Namespaced && !cluster.ClusterResources:
		return fmt.Errorf("Cluster level %s %q can not be managed when in namespaced mode: set the key \"clusterResources\" of Secret/%s to \"true\"", o.Kind, o.Name, cluster.SecretName) //nolint:staticcheck // tools match on this text
	}
	return nil
}

func kindPermitted(project *v1alpha1.AppProject, o Object) bool {
	s := project.Spec
	if !o.Namespaced {
		return listedNamed(s.ClusterResourceWhitelist, o) && !listedNamed(s.ClusterResourceBlacklist, o)
	}
	if s.NamespaceResourceWhitelist != nil && !listed(s.NamespaceResourceWhitelist, o) {
		return false
	}
	return !listed(s.NamespaceResourceBlacklist, o)
}

func listed(rules []v1alpha1.GroupKind, o Object) bool {
	for _, r := range rules {
		if shell(r.Group, o.Group) && shell(r.Kind, o.Kind) {
			return true
		}
	}
	return false
}

func listedNamed(rules []v1alpha1.ClusterResourceRestriction, o Object) bool {
	for _, r := range rules {
		if shell(r.Group, o.Group) && shell(r.Kind, o.Kind) && (r.Name == "" || shell(r.Name, o.Name)) {
			return true
		}
	}
	return false
}

func shell(pattern, value string) bool {
	ok, err := path.Match(pattern, value)
	return err == nil && ok
}

// Namespace says whether Applications of a namespace may use the project;
// the control-plane namespace always may. An entry that cannot be read admits
// none.
func Namespace(project *v1alpha1.AppProject, namespace, controlPlane string) bool {
	if namespace == controlPlane {
		return true
	}
	return Listed(project.Spec.SourceNamespaces, namespace)
}
