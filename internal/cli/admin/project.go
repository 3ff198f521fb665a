package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/declare"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/proj"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

func (v *verbs) projects() *cobra.Command {
	c := command.Group("proj", "Declare projects, and change many of them", proj.GenerateSpec(v.Dialer), v.allowList(), v.rolePolicy())
	c.Aliases = []string{"project"}
	return c
}

// allowList prints a project that may create what a ClusterRole may create.
func (v *verbs) allowList() *cobra.Command {
	out := &declare.Flags{}
	c := &cobra.Command{Use: "generate-allow-list CLUSTERROLE_FILE PROJECT", Short: "Print a project that permits the kinds that a ClusterRole may create", Args: command.Args(2, 2)}
	out.Register(c, false)
	c.RunE = func(_ *cobra.Command, args []string) error {
		role := &rbacv1.ClusterRole{}
		if err := v.object(args[0], "ClusterRole", func(raw []byte) error { return yaml.Unmarshal(raw, role) }); err != nil {
			return err
		}
		cfg, _, err := v.config()
		if err != nil {
			return err
		}
		asked, err := discovery.NewDiscoveryClientForConfig(cfg)
		if err != nil {
			return fmt.Errorf("connect to Kubernetes: %w", err)
		}
		lists, err := asked.ServerPreferredResources()
		if err != nil && len(lists) == 0 {
			return fmt.Errorf("ask Kubernetes for its kinds: %w", err)
		}
		if err != nil { // some group does not answer, the others do
			v.Dialer.Console.Warnf("Warning: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		p := &v1alpha1.AppProject{}
		p.APIVersion, p.Kind, p.Name = v1alpha1.GroupVersion.String(), v1alpha1.AppProjectKind, args[1]
		if err := allow(&p.Spec, role, lists); err != nil {
			return err
		}
		return out.Print(v.Dialer.Console, "", p)
	}
	return c
}

// allow permits the kinds that a role may create.
func allow(s *v1alpha1.AppProjectSpec, role *rbacv1.ClusterRole, lists []*metav1.APIResourceList) error {
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return fmt.Errorf("group %q: %w", list.GroupVersion, err)
		}
		for i := range list.APIResources {
			r := &list.APIResources[i]
			if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "create") || !creates(role, gv.Group, r.Name) {
				continue
			}
			if r.Namespaced {
				s.NamespaceResourceWhitelist = append(s.NamespaceResourceWhitelist, v1alpha1.GroupKind{Group: gv.Group, Kind: r.Kind})
			} else {
				s.ClusterResourceWhitelist = append(s.ClusterResourceWhitelist, v1alpha1.ClusterResourceRestriction{Group: gv.Group, Kind: r.Kind})
			}
		}
	}
	slices.SortFunc(s.NamespaceResourceWhitelist, func(a, b v1alpha1.GroupKind) int { return strings.Compare(a.Group+"/"+a.Kind, b.Group+"/"+b.Kind) })
	slices.SortFunc(s.ClusterResourceWhitelist, func(a, b v1alpha1.ClusterResourceRestriction) int {
		return strings.Compare(a.Group+"/"+a.Kind, b.Group+"/"+b.Kind)
	})
	s.NamespaceResourceWhitelist, s.ClusterResourceWhitelist = slices.Compact(s.NamespaceResourceWhitelist), slices.Compact(s.ClusterResourceWhitelist)
	return nil
}

// creates says that a role may create any object of a resource.
func creates(role *rbacv1.ClusterRole, group, resource string) bool {
	has := func(all []string, one string) bool { return slices.Contains(all, one) || slices.Contains(all, "*") }
	return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
		return has(r.Verbs, "create") && has(r.APIGroups, group) && has(r.Resources, resource) && len(r.ResourceNames) == 0
	})
}

// policyFlags are those of update-role-policy.
type policyFlags struct {
	resource, scope, permission string
	roles                       string
	groups                      []string
	dryRun                      bool
}

func (v *verbs) rolePolicy() *cobra.Command {
	f := &policyFlags{}
	c := &cobra.Command{Use: "update-role-policy PROJECT_GLOB MODIFICATION ACTION", Short: "Set or remove an action in the roles of many projects", Args: command.Args(3, 3)}
	fs := c.Flags()
	fs.StringVar(&f.resource, "resource", "", "resource that the policy is about, for example applications; empty is any with remove")
	fs.StringVar(&f.scope, "scope", "*", "objects in the project that the policy is about")
	fs.StringVar(&f.permission, "permission", "allow", "allow or deny")
	fs.StringVar(&f.roles, "role", "*", "roles that are changed, * is any text")
	fs.StringSliceVar(&f.groups, "group", nil, "only roles that one of these groups has; may be repeated")
	fs.BoolVar(&f.dryRun, "dry-run", true, "only say what would be done")
	c.RunE = func(cmd *cobra.Command, args []string) error { return v.updateRoles(cmd.Context(), f, args) }
	return c
}

func (f *policyFlags) check(modification, action string) error {
	switch {
	case modification != "set" && modification != "remove":
		return fail.Fatal("MODIFICATION %q is not known: use set or remove", modification)
	case f.permission != "allow" && f.permission != "deny":
		return fail.Fatal("--permission %q is not known: use allow or deny", f.permission)
	case modification == "set" && f.resource == "":
		return fail.Fatal("set needs --resource, for example --resource applications")
	case strings.ContainsAny(action+f.resource+f.scope, ",\n\""):
		return fail.Fatal("a policy holds no comma, quote or line end: check ACTION, --resource and --scope")
	}
	return nil
}

func (v *verbs) updateRoles(ctx context.Context, f *policyFlags, args []string) error {
	if err := f.check(args[1], args[2]); err != nil {
		return err
	}
	projects, err := glob.Compile(args[0])
	if err != nil {
		return fail.Fatal("PROJECT_GLOB %q is no pattern: %w", args[0], err)
	}
	roles, err := glob.Compile(f.roles)
	if err != nil {
		return fail.Fatal("--role %q is no pattern: %w", f.roles, err)
	}
	h, err := v.connect()
	if err != nil {
		return err
	}
	var list v1alpha1.AppProjectList
	if err := h.client.List(ctx, &list, client.InNamespace(h.namespace)); err != nil {
		return fmt.Errorf("list AppProjects: %w", err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if !projects.Match(p.Name) {
			continue
		}
		next := p.DeepCopy()
		var lines []string
		for j := range next.Spec.Roles {
			if r := &next.Spec.Roles[j]; roles.Match(r.Name) && f.concerns(r) {
				lines = append(lines, f.modify(p.Name, r, args[1] == "set", args[2])...)
			}
		}
		if len(lines) == 0 {
			continue
		}
		if !f.dryRun {
			if err := h.client.Patch(ctx, next, client.MergeFromWithOptions(p, client.MergeFromWithOptimisticLock{})); err != nil {
				return fmt.Errorf("AppProject %s: %w", p.Name, err)
			}
		}
		v.Dialer.Console.Printf("%s%s\n%s\n", p.Name, map[bool]string{true: " (dry run)"}[f.dryRun], strings.Join(lines, "\n"))
	}
	return nil
}

func (f *policyFlags) concerns(r *v1alpha1.ProjectRole) bool {
	return len(f.groups) == 0 || slices.ContainsFunc(f.groups, func(g string) bool { return slices.Contains(r.Groups, g) })
}

// modify changes the policies of a role, and gives the lines that went and came.
func (f *policyFlags) modify(project string, r *v1alpha1.ProjectRole, set bool, action string) []string {
	want := fmt.Sprintf("p, %s, %s, %s, %s/%s, %s", rbac.RoleSubject(project, r.Name), f.resource, action, project, f.scope, f.permission)
	var kept, lines []string
	there := false
	for _, p := range r.Policies {
		words := strings.Split(p, ",")
		for i := range words {
			words[i] = strings.TrimSpace(words[i])
		}
		about := len(words) == 6 && words[3] == action && (f.resource == "" || words[2] == f.resource)
		switch {
		case !about, set && words[4] != project+"/"+f.scope:
			kept = append(kept, p)
		case set && words[5] == f.permission:
			there = true
			kept = append(kept, p)
		default:
			lines = append(lines, "- "+p)
		}
	}
	if set && !there {
		kept, lines = append(kept, want), append(lines, "+ "+want)
	}
	r.Policies = kept
	return lines
}
