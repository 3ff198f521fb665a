package proj

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) role() *cobra.Command {
	return command.Group("role", "Manage roles of projects",
		v.createRole(), v.deleteRole(), v.getRole(), v.listRoles(), v.policy("add-policy", true), v.policy("remove-policy", false),
		v.group("add-group", true), v.group("remove-group", false), v.createToken(), v.deleteToken(), v.listTokens())
}

// roleOf finds a role of a project.
func roleOf(p *v1alpha1.AppProject, name string) (*v1alpha1.ProjectRole, error) {
	var names []string
	for i := range p.Spec.Roles {
		if p.Spec.Roles[i].Name == name {
			return &p.Spec.Roles[i], nil
		}
		names = append(names, p.Spec.Roles[i].Name)
	}
	err := &fail.Error{Code: fail.Generic, Err: fmt.Errorf("role '%s' does not exist in project '%s'", name, p.Name), Remedy: "proj role list " + p.Name}
	if near := command.Near(name, names); near != "" {
		err.Err = fmt.Errorf("%w, did you mean '%s'?", err.Err, near)
	}
	return nil, err
}

func (v *verbs) createRole() *cobra.Command {
	var description string
	c := v.rule(rule{"create PROJECT ROLE-NAME", "Create a role", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		if _, err := roleOf(p, args[0]); err == nil {
			v.d.Console.Printf("Role '%s' already exists\n", args[0])
			return false, nil
		}
		p.Spec.Roles = append(p.Spec.Roles, v1alpha1.ProjectRole{Name: args[0], Description: description})
		v.d.Console.Printf("Role '%s' created\n", args[0])
		return true, nil
	}})
	c.Flags().StringVar(&description, "description", "", "what the role is for")
	return c
}

func (v *verbs) deleteRole() *cobra.Command {
	return v.rule(rule{"delete PROJECT ROLE-NAME", "Delete a role", 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		i := slices.IndexFunc(p.Spec.Roles, func(r v1alpha1.ProjectRole) bool { return r.Name == args[0] })
		if i < 0 {
			v.d.Console.Printf("Role '%s' does not exist in project\n", args[0])
			return false, nil
		}
		p.Spec.Roles = slices.Delete(p.Spec.Roles, i, i+1)
		v.d.Console.Printf("Role '%s' deleted\n", args[0])
		return true, nil
	}})
}

// looking is a command that reads a project and prints something of it.
func (v *verbs) looking(use, short string, n int, show func(p *v1alpha1.AppProject, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: command.Args(n, n), ValidArgsFunction: v.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			p, err := api.Project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return show(p, args[1:])
		},
	}
}

func (v *verbs) listRoles() *cobra.Command {
	var format string
	c := v.looking("list PROJECT", "List roles", 1, func(p *v1alpha1.AppProject, _ []string) error {
		switch format {
		case "name":
			for i := range p.Spec.Roles {
				v.d.Console.Printf("%s\n", p.Spec.Roles[i].Name)
			}
			return nil
		case "wide", "":
			table := [][]string{{"ROLE-NAME", "DESCRIPTION"}}
			for i := range p.Spec.Roles {
				table = append(table, []string{p.Spec.Roles[i].Name, p.Spec.Roles[i].Description})
			}
			return output.Table(v.d.Console.Out, table)
		}
		return output.List(v.d.Console.Out, format, p.Spec.Roles)
	})
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, name, json or yaml")
	return c
}

func (v *verbs) getRole() *cobra.Command {
	var format string
	c := v.looking("get PROJECT ROLE-NAME", "Show a role", 2, func(p *v1alpha1.AppProject, args []string) error {
		r, err := roleOf(p, args[0])
		if err != nil {
			return err
		}
		if format != "" && format != "wide" {
			return output.Object(v.d.Console.Out, format, r)
		}
		return v.printRole(p, r)
	})
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	return c
}

// tokensOf are the tokens of a role: the status has those that count, the role
// those of old projects.
func tokensOf(p *v1alpha1.AppProject, r *v1alpha1.ProjectRole) []v1alpha1.JWTToken {
	if t, ok := p.Status.JWTTokensByRole[r.Name]; ok {
		return t.Items
	}
	return r.JWTTokens
}

func (v *verbs) printRole(p *v1alpha1.AppProject, r *v1alpha1.ProjectRole) error {
	w, now := v.d.Console.Out, v.d.Console.Clock.Now()
	for _, row := range [][2]string{{"Role Name:", r.Name}, {"Description:", r.Description}} {
		if err := output.RowTo(w, 15, row[0], row[1]); err != nil {
			return err
		}
	}
	v.d.Console.Printf("Policies:\n")
	for i := range p.Spec.Roles {
		for _, line := range p.Spec.Roles[i].Policies {
			v.d.Console.Printf("%s\n", output.Clean(line))
		}
	}
	v.d.Console.Printf("Groups:\n")
	if len(r.Groups) == 0 {
		v.d.Console.Printf("<none>\n")
	}
	for _, g := range r.Groups {
		v.d.Console.Printf("  - %s\n", output.Clean(g))
	}
	v.d.Console.Printf("JWT Tokens:\n")
	table := [][]string{{"ID", "ISSUED-AT", "EXPIRES-AT"}}
	for _, t := range tokensOf(p, r) {
		expires := "<none>"
		if t.ExpiresAt > 0 {
			expires = stamp(t.ExpiresAt, now)
		}
		table = append(table, []string{fmt.Sprint(t.IssuedAt), stamp(t.IssuedAt, now), expires})
	}
	return output.Table(w, table)
}

// stamp is a time with how long ago it was.
func stamp(seconds int64, now time.Time) string {
	t := time.Unix(seconds, 0)
	return fmt.Sprintf("%s (%s)", t.UTC().Format(time.RFC3339), output.Ago(now, t))
}

// policy adds or removes a line of policy.
func (v *verbs) policy(name string, in bool) *cobra.Command {
	var action, object, permission, resource string
	short := "Permit or deny something to a role"
	if !in {
		short = "Take a rule away from a role"
	}
	c := v.rule(rule{name + " PROJECT ROLE-NAME", short, 2, 2, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		r, err := roleOf(p, args[0])
		if err != nil {
			return false, err
		}
		if action == "" || object == "" {
			return false, fail.Fatal("--action and --object are missing: say what the rule is about")
		}
		if permission != "allow" && permission != "deny" {
			return false, fail.Fatal("Permission flag can only have the values 'allow' or 'deny'")
		}
		line := fmt.Sprintf("p, proj:%s:%s, %s, %s, %s/%s, %s", p.Name, r.Name, resource, action, p.Name, object, permission)
		if in {
			r.Policies = append(r.Policies, line)
			return true, nil
		}
		i := slices.IndexFunc(r.Policies, func(l string) bool { return tight(l) == tight(line) })
		if i < 0 {
			return false, &fail.Error{Code: fail.Generic, Err: errors.New("failed to remove policy: role " + r.Name + " has no rule \"" + line + "\""), Remedy: "proj role get " + p.Name + " " + r.Name}
		}
		r.Policies = slices.Delete(r.Policies, i, i+1)
		return true, nil
	}})
	c.Flags().StringVarP(&action, "action", "a", "", "action, such as get, sync or *")
	c.Flags().StringVarP(&object, "object", "o", "", "object within the project, such as * or NAME")
	c.Flags().StringVarP(&permission, "permission", "p", "allow", "allow or deny")
	c.Flags().StringVarP(&resource, "resource", "r", "applications", "kind of the object")
	return c
}

// tight is a line of policy without its blanks.
func tight(line string) string { return strings.ReplaceAll(line, " ", "") }

func (v *verbs) group(name string, in bool) *cobra.Command {
	short := "Give a role to a group"
	if !in {
		short = "Take a role from a group"
	}
	return v.rule(rule{name + " PROJECT ROLE-NAME GROUP-CLAIM", short, 3, 3, func(p *v1alpha1.AppProject, args []string) (bool, error) {
		r, err := roleOf(p, args[0])
		if err != nil {
			return false, err
		}
		changed := listed(&r.Groups, args[1], in)
		switch {
		case in && changed:
			v.d.Console.Printf("Group '%s' added to role '%s'\n", args[1], args[0])
		case in:
			v.d.Console.Printf("Group '%s' already present in role '%s'\n", args[1], args[0])
		case changed:
			v.d.Console.Printf("Group '%s' removed from role '%s'\n", args[1], args[0])
		default:
			v.d.Console.Printf("Group '%s' not present in role '%s'\n", args[1], args[0])
		}
		return changed, nil
	}})
}

func printTokens(w io.Writer, all []v1alpha1.JWTToken, unix bool) error {
	format := func(seconds int64) string {
		if unix {
			return fmt.Sprint(seconds)
		}
		return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
	table := [][]string{{"ID", "ISSUED AT", "EXPIRES AT"}}
	for _, t := range all {
		expires := "Never"
		if t.ExpiresAt > 0 {
			expires = format(t.ExpiresAt)
		}
		table = append(table, []string{t.ID, format(t.IssuedAt), expires})
	}
	return output.TablePadded(w, 4, table)
}
