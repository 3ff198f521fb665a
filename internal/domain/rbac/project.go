package rbac

import (
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// tokenPrefix begins the subjects of project roles and their tokens.
const tokenPrefix = "proj:"

// RoleSubject is the subject of a project role and of its tokens.
func RoleSubject(project, role string) string { return tokenPrefix + project + ":" + role }

// SplitRoleSubject takes proj:<project>:<role> apart; ok is false for
// everything else. Neither name can hold a colon.
func SplitRoleSubject(subject string) (project, role string, ok bool) {
	rest, ok := strings.CutPrefix(subject, tokenPrefix)
	if !ok {
		return "", "", false
	}
	project, role, ok = strings.Cut(rest, ":")
	if !ok || project == "" || role == "" || strings.Contains(role, ":") {
		return "", "", false
	}
	return project, role, true
}

// CompileProject makes a Layer of the roles of a project (spec/rbac.md §5).
// The error names the role and the policy that cannot be read; the project
// then has no Layer: its roles grant nothing, and the global policy counts.
func CompileProject(mode Mode, project *v1alpha1.AppProject) (*Layer, error) {
	var text Text
	for i, role := range project.Spec.Roles {
		subject := RoleSubject(project.Name, role.Name)
		source := fmt.Sprintf("AppProject/%s spec.roles[%d] %s", project.Name, i, shorten(role.Name))
		text.Lines = append(text.Lines, Line{Subject: subject, Resource: Projects, Action: "get", Object: project.Name, Effect: allow, Source: source})
		for n, policy := range role.Policies {
			for _, raw := range strings.Split(policy, "\n") {
				if err := text.add(fmt.Sprintf("%s policies[%d]", source, n), raw); err != nil {
					return nil, err
				}
			}
		}
		for _, group := range role.Groups {
			text.Grants = append(text.Grants, Grant{Member: group, Role: subject, Source: source})
		}
	}
	return compileLayer(mode, text), nil
}
