// Package proj is the group of commands about projects (spec/cli.md §5).
//
//   - proj.go: list, get, create, set, edit, delete; flags.go: what describes one
//   - rules.go: add- and remove-, allow- and deny-
//   - role.go, token.go: roles; window.go: sync windows; integrity.go: signatures
package proj

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/app"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

type verbs struct{ d *connect.Dialer }

// Command is the group.
func Command(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	c := command.Group("proj", "Manage projects",
		append(v.rules(), listing.Verb(d, "List projects"), v.get(), v.create(), v.set(), v.edit(), v.delete(), v.role(), v.windows(), v.integrity())...)
	c.Aliases = []string{"project"}
	return c
}

// listing lists projects.
var listing = command.Listing[v1alpha1.AppProject]{
	All:  func(ctx context.Context, c *client.Client) ([]v1alpha1.AppProject, error) { return c.Projects(ctx) },
	Name: func(p *v1alpha1.AppProject) string { return p.Name }, Word: "name", Table: projectTable,
}

// names offers projects to shells.
func (v *verbs) names() cobra.CompletionFunc { return listing.Names(v.d) }

// change reads a project, edits it, and writes it when edit says so.
func (v *verbs) change(ctx context.Context, name string, edit func(*v1alpha1.AppProject) (bool, error)) error {
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	p, err := c.Project(ctx, name)
	if err != nil {
		return err
	}
	write, err := edit(p)
	if err != nil || !write {
		return err
	}
	_, err = c.UpdateProject(ctx, p)
	return err
}

// few is one element, <none>, or a count.
func few(all []string, what string) string {
	switch len(all) {
	case 0:
		return "<none>"
	case 1:
		return all[0]
	}
	return fmt.Sprintf("%d %s", len(all), what)
}

func projectTable(all []v1alpha1.AppProject) [][]string {
	table := [][]string{{
		"NAME", "DESCRIPTION", "DESTINATIONS", "SOURCES", "CLUSTER-RESOURCE-WHITELIST", "NAMESPACE-RESOURCE-BLACKLIST", "SIGNATURE-KEYS",
		"ORPHANED-RESOURCES", "DESTINATION-SERVICE-ACCOUNTS",
	}}
	for i := range all {
		s := &all[i].Spec
		keys := make([]string, len(s.SignatureKeys))
		for j, k := range s.SignatureKeys {
			keys[j] = k.KeyID
		}
		table = append(table, []string{
			all[i].Name, s.Description, few(destinations(s), "destinations"), few(s.SourceRepos, "repos"), few(clusterKinds(s.ClusterResourceWhitelist), "resources"),
			few(kinds(s.NamespaceResourceBlacklist), "resources"), few(keys, "key(s)"), orphaned(s.OrphanedResources), few(serviceAccounts(s), "resources"),
		})
	}
	return table
}

func destinations(s *v1alpha1.AppProjectSpec) []string {
	var out []string
	for _, d := range s.Destinations {
		server := d.Server
		if server == "" {
			server = d.Name
		}
		out = append(out, server+","+d.Namespace)
	}
	return out
}

func kinds(all []v1alpha1.GroupKind) []string {
	var out []string
	for _, k := range all {
		out = append(out, k.Group+"/"+k.Kind)
	}
	return out
}

func clusterKinds(all []v1alpha1.ClusterResourceRestriction) []string {
	var out []string
	for _, k := range all {
		text := k.Group + "/" + k.Kind
		if k.Name != "" {
			text += "/" + k.Name
		}
		out = append(out, text)
	}
	return out
}

func serviceAccounts(s *v1alpha1.AppProjectSpec) []string {
	var out []string
	for _, a := range s.DestinationServiceAccounts {
		out = append(out, a.Server+","+a.Namespace+","+a.DefaultServiceAccount)
	}
	return out
}

func orphaned(o *v1alpha1.OrphanedResources) string {
	if o == nil {
		return "disabled"
	}
	text := fmt.Sprintf("enabled (warn=%t", o.Warn != nil && *o.Warn)
	if len(o.Ignore) > 0 {
		text += fmt.Sprintf(", ignored %d", len(o.Ignore))
	}
	return text + ")"
}

func (v *verbs) get() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "get PROJECT", Short: "Show a project", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, name, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		p, err := api.DetailedProject(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		switch format {
		case "name":
			v.d.Console.Printf("%s\n", p.Project.Name)
			return nil
		case "wide", "":
			return printProject(v.d.Console.Out, p)
		}
		return output.Object(v.d.Console.Out, format, p.Project)
	}
	return c
}

func printProject(w io.Writer, p *client.DetailedProject) error {
	s := &p.Project.Spec
	var repos, clusters, keys []string
	for i := range p.Repositories {
		repos = append(repos, p.Repositories[i].Repo)
	}
	for i := range p.Clusters {
		clusters = append(clusters, p.Clusters[i].Server)
	}
	for _, k := range s.SignatureKeys {
		keys = append(keys, k.KeyID)
	}
	for _, r := range []struct {
		label string
		all   []string
	}{
		{"Name:", []string{p.Project.Name}}, {"Description:", []string{s.Description}}, {"Destinations:", destinations(s)}, {"Repositories:", s.SourceRepos},
		{"Source Namespaces:", s.SourceNamespaces}, {"Scoped Repositories:", repos}, {"Allowed Cluster Resources:", clusterKinds(s.ClusterResourceWhitelist)},
		{"Scoped Clusters:", clusters}, {"Denied Namespaced Resources:", kinds(s.NamespaceResourceBlacklist)}, {"Signature keys:", keys},
		{"Orphaned Resources:", []string{orphaned(s.OrphanedResources)}},
	} {
		if len(r.all) == 0 {
			r.all = []string{"<none>"}
		}
		for i, value := range r.all {
			label := r.label
			if i > 0 {
				label = ""
			}
			if err := output.RowTo(w, 29, label, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verbs) set() *cobra.Command {
	f := &specFlags{}
	c := &cobra.Command{Use: "set PROJECT", Short: "Change what flags say of a project", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !f.any() {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		return v.change(cmd.Context(), args[0], func(p *v1alpha1.AppProject) (bool, error) { return true, f.apply(&p.Spec) })
	}
	return c
}

func (v *verbs) edit() *cobra.Command {
	return &cobra.Command{
		Use: "edit PROJECT", Short: "Edit the spec of a project in an editor", Args: command.Args(1, 1), ValidArgsFunction: v.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			p, err := api.Project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			before, err := yaml.Marshal(p.Spec)
			if err != nil {
				return err
			}
			return app.Edit(cmd.Context(), v.d.Console, before, func(after []byte) error {
				var spec v1alpha1.AppProjectSpec
				if err := yaml.UnmarshalStrict(after, &spec); err != nil {
					return err
				}
				now, err := api.Project(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				now.Spec = spec
				_, err = api.UpdateProject(cmd.Context(), now)
				return err
			})
		},
	}
}

func (v *verbs) delete() *cobra.Command {
	return &cobra.Command{
		Use: "delete PROJECT...", Short: "Delete projects", Args: command.Args(1, -1), ValidArgsFunction: v.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			for _, name := range args {
				if v.d.PromptsEnabled() {
					ok, err := v.d.Console.Confirm("Are you sure you want to delete project '" + name + "'? [y/n] ")
					if err != nil {
						return err
					}
					if !ok {
						v.d.Console.Printf("The command to delete project '%s' was cancelled.\n", name)
						continue
					}
				}
				if err := api.DeleteProject(cmd.Context(), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// parts splits a word at commas into a fixed number of parts.
func parts(word string, n int, flag string) ([]string, error) {
	out := strings.Split(word, ",")
	if len(out) != n {
		return nil, fail.Fatal("--%s %q: want %d parts with commas between", flag, word, n)
	}
	return out, nil
}
