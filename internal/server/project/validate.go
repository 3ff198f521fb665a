package project

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/window"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

var (
	roleName      = regexp.MustCompile(`^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$`)
	roleResources = []string{"applications", "applicationsets", "repositories", "clusters", "logs", "exec"}
	roleActions   = []string{"get", "create", "update", "delete", "sync", "override", "*"}
	fineActions   = regexp.MustCompile(`^(action|update|delete)/`)
	badAccount    = regexp.MustCompile(`[!*\[\]{}\\/\s]`)
)

func invalid(format string, args ...any) error {
	return fault.New(fault.InvalidArgument, format, args...)
}

func twice(format string, args ...any) error { return fault.New(fault.AlreadyExists, format, args...) }

func seconds(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid("iat %q is no time in seconds", text)
	}
	return n, nil
}

// Validate says whether a project may be as it is (spec/application.md §13,
// spec/rbac.md §5).
func Validate(p *v1alpha1.AppProject) error {
	if problems := validation.IsDNS1123Subdomain(p.Name); len(problems) > 0 {
		return invalid("metadata.name %q: %s", p.Name, strings.Join(problems, "; "))
	}
	if len(p.Spec.Description) > 255 {
		return invalid("spec.description has more than 255 characters")
	}
	for _, check := range []func(*v1alpha1.AppProject) error{places, accounts, roles} {
		if err := check(p); err != nil {
			return err
		}
	}
	for _, problem := range window.ParseProject(p.Spec.SyncWindows).Problems() {
		return invalid("%w", problem)
	}
	return nil
}

// places checks repositories, namespaces and destinations.
func places(p *v1alpha1.AppProject) error {
	for i, repo := range p.Spec.SourceRepos {
		if repo == "!*" {
			return invalid("spec.sourceRepos[%d]: source repository must not be '!*'", i)
		}
		if slices.Contains(p.Spec.SourceRepos[:i], repo) {
			return invalid("spec.sourceRepos[%d]: source repository '%s' already added", i, repo)
		}
	}
	for i, n := range p.Spec.SourceNamespaces {
		if slices.Contains(p.Spec.SourceNamespaces[:i], n) {
			return invalid("spec.sourceNamespaces[%d]: source namespace '%s' already added", i, n)
		}
	}
	for i, d := range p.Spec.Destinations {
		if d.Server == "!*" || d.Name == "!*" || d.Namespace == "!*" {
			return invalid("spec.destinations[%d]: '!*' denies everything: leave the entry out", i)
		}
		if slices.ContainsFunc(p.Spec.Destinations[:i], func(o v1alpha1.ApplicationDestination) bool { return o == d }) {
			return invalid("spec.destinations[%d]: destination '%s/%s' already added", i, d.Server, d.Namespace)
		}
	}
	return nil
}

// accounts checks destination service accounts.
func accounts(p *v1alpha1.AppProject) error {
	for i, a := range p.Spec.DestinationServiceAccounts {
		at := fmt.Sprintf("spec.destinationServiceAccounts[%d]", i)
		if strings.Contains(a.Server, "!") || strings.Contains(a.Namespace, "!") {
			return invalid("%s: server and namespace must not contain '!'", at)
		}
		name := a.DefaultServiceAccount
		if before, after, ok := strings.Cut(name, ":"); ok { // namespace:name
			name = before + after
		}
		if name == "" || badAccount.MatchString(name) {
			return invalid("%s: defaultServiceAccount %q is no name of a service account", at, a.DefaultServiceAccount)
		}
		if slices.ContainsFunc(p.Spec.DestinationServiceAccounts[:i], func(o v1alpha1.DestinationServiceAccount) bool {
			return o.Server == a.Server && o.Namespace == a.Namespace
		}) {
			return invalid("%s: server '%s' and namespace '%s' are there twice", at, a.Server, a.Namespace)
		}
	}
	return nil
}

func roles(p *v1alpha1.AppProject) error {
	for i, r := range p.Spec.Roles {
		if !roleName.MatchString(r.Name) {
			return invalid("invalid role name '%s': use letters, digits, - and _", r.Name)
		}
		if slices.ContainsFunc(p.Spec.Roles[:i], func(o v1alpha1.ProjectRole) bool { return o.Name == r.Name }) {
			return twice("role '%s' already exists", r.Name)
		}
		for j, line := range r.Policies {
			if slices.Contains(r.Policies[:j], line) {
				return twice("policy '%s' already exists for role '%s'", line, r.Name)
			}
			if err := roleLine(p.Name, r.Name, line); err != nil {
				return err
			}
		}
		for j, g := range r.Groups {
			if slices.Contains(r.Groups[:j], g) {
				return twice("group '%s' already exists for role '%s'", g, r.Name)
			}
			if err := group(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// roleLine checks one policy of a role.
func roleLine(project, role, line string) error {
	parts := strings.Split(line, ",")
	if len(parts) != 6 || strings.TrimSpace(parts[0]) != "p" {
		return invalid("invalid policy rule '%s': must be of the form: 'p, sub, res, act, obj, eft'", line)
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	wrong := func(format string, args ...any) error {
		return invalid("invalid policy rule '%s': "+format, append([]any{line}, args...)...)
	}
	object := regexp.MustCompile(`^` + regexp.QuoteMeta(project) + `(/[*\w\-.]+)?/[*\w\-.]+$`)
	switch {
	case parts[1] != "proj:"+project+":"+role:
		return wrong("policy subject must be: 'proj:%s:%s', not '%s'", project, role, parts[1])
	case !slices.Contains(roleResources, parts[2]):
		return wrong("project resource must be one of %s, not '%s'", strings.Join(roleResources, ", "), parts[2])
	case !slices.Contains(roleActions, parts[3]) && !fineActions.MatchString(parts[3]):
		return wrong("invalid action '%s'", parts[3])
	case !object.MatchString(parts[4]):
		return wrong("object must be of form '%s/*', '%s[/<NAMESPACE>]/<APPNAME>' or '%s/<APPNAME>', not '%s'", project, project, project, parts[4])
	case parts[5] != "allow" && parts[5] != "deny":
		return wrong("effect must be: 'allow' or 'deny', not '%s'", parts[5])
	}
	return nil
}

// group checks the name of a group; one with a comma is quoted.
func group(g string) error {
	inner := g
	if len(g) > 2 && strings.HasPrefix(g, `"`) && strings.HasSuffix(g, `"`) {
		inner = g[1 : len(g)-1]
	} else if strings.Contains(g, ",") {
		return invalid("group '%s' has a comma: put it in double quotes", g)
	}
	if inner == "" || strings.TrimSpace(inner) != inner || strings.ContainsAny(inner, "\"\r\n\t") {
		return invalid("group %q: must not be empty, have spaces around it, quotes, tabs or line breaks", g)
	}
	return nil
}
