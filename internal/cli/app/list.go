package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// listFlags select Applications.
type listFlags struct {
	output, selector, repo, cluster, path, namespace string
	projects                                         []string
}

func (v *verbs) list() *cobra.Command {
	f := &listFlags{}
	c := &cobra.Command{Use: "list", Short: "List Applications", Args: command.Args(0, 0)}
	fs := c.Flags()
	fs.StringVarP(&f.output, "output", "o", "wide", "wide, name, json or yaml")
	fs.StringVarP(&f.selector, "selector", "l", "", "only those with these labels")
	fs.StringSliceVarP(&f.projects, "project", "p", nil, "only those of this project; may be repeated")
	fs.StringVarP(&f.repo, "repo", "r", "", "only those of this repository")
	fs.StringVarP(&f.cluster, "cluster", "c", "", "only those on this cluster, by name or server")
	fs.StringVarP(&f.path, "path", "P", "", "only those of this folder")
	fs.StringVarP(&f.namespace, "app-namespace", "N", "", "only those in this namespace")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return v.runList(cmd.Context(), f) }
	return c
}

func (v *verbs) runList(ctx context.Context, f *listFlags) error {
	switch f.output {
	case "wide", "", "name", "json", "yaml":
	default:
		return output.Unknown(f.output)
	}
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	q := client.AppQuery{Namespace: f.namespace, Selector: f.selector, Repo: f.repo, Projects: f.projects, Fields: tableFields}
	if f.output == "json" || f.output == "yaml" {
		q.Fields = ""
	}
	list, err := c.Apps(ctx, q)
	if err != nil {
		return err
	}
	apps, err := v.narrow(ctx, c, list.Items, f)
	if err != nil {
		return err
	}
	switch f.output {
	case "json", "yaml":
		return output.List(v.d.Console.Out, f.output, apps)
	case "name":
		for i := range apps {
			v.d.Console.Printf("%s\n", Qualified(&apps[i]))
		}
		return nil
	}
	return PrintTable(v.d.Console.Out, apps)
}

// tableFields are what tables show and what narrow looks at: status is often
// the larger part of an Application, and a fleet has thousands of them.
const tableFields = "items.metadata.name,items.metadata.namespace,items.spec,items.status.sync.status,items.status.health.status,items.status.conditions"

// narrow applies what the server does not.
func (v *verbs) narrow(ctx context.Context, c *client.Client, apps []v1alpha1.Application, f *listFlags) ([]v1alpha1.Application, error) {
	if f.path != "" {
		apps = slices.DeleteFunc(apps, func(a v1alpha1.Application) bool {
			return !slices.ContainsFunc(a.Spec.GetSources(), func(s v1alpha1.ApplicationSource) bool { return s.Path == f.path })
		})
	}
	if f.cluster == "" {
		return apps, nil
	}
	names := map[string]bool{strings.TrimSuffix(f.cluster, "/"): true}
	// The other form of the same cluster counts too, for those who may see it.
	if cluster, err := c.Cluster(ctx, f.cluster); err == nil {
		names[cluster.Name], names[cluster.Server] = true, true
	}
	delete(names, "")
	return slices.DeleteFunc(apps, func(a v1alpha1.Application) bool {
		d := a.Spec.Destination
		return !names[strings.TrimSuffix(d.Server, "/")] && !names[d.Name]
	}), nil
}

// PrintTable prints Applications as app list does.
func PrintTable(w io.Writer, apps []v1alpha1.Application) error {
	table := [][]string{{"NAME", "CLUSTER", "NAMESPACE", "PROJECT", "STATUS", "HEALTH", "SYNCPOLICY", "CONDITIONS", "REPO", "PATH", "TARGET"}}
	for i := range apps {
		a := &apps[i]
		cluster := a.Spec.Destination.Server
		if cluster == "" {
			cluster = a.Spec.Destination.Name
		}
		var first v1alpha1.ApplicationSource
		if all := a.Spec.GetSources(); len(all) > 0 {
			first = all[0]
		}
		table = append(table, []string{
			Qualified(a), cluster, a.Spec.Destination.Namespace, a.Spec.Project, string(a.Status.Sync.Status), string(a.Status.Health.Status),
			policyOf(a), Conditions(a.Status.Conditions), first.RepoURL, first.Path, first.TargetRevision,
		})
	}
	return output.Table(w, table)
}

func policyOf(a *v1alpha1.Application) string {
	switch p := automated(a); {
	case p == nil:
		return "Manual"
	case p.Prune:
		return "Auto-Prune"
	}
	return "Auto"
}

// Conditions lists the types of conditions; one that repeats is counted.
func Conditions(all []v1alpha1.ApplicationCondition) string {
	count := map[string]int{}
	var types []string
	for _, c := range all {
		if count[c.Type]++; count[c.Type] == 1 {
			types = append(types, c.Type)
		}
	}
	slices.Sort(types)
	for i, t := range types {
		if count[t] > 1 {
			types[i] = fmt.Sprintf("%s(%d)", t, count[t])
		}
	}
	if len(types) == 0 {
		return "<none>"
	}
	return strings.Join(types, ",")
}

// names offers Applications to shells.
func (v *verbs) names() cobra.CompletionFunc {
	return command.Complete(v.d, func(cmd *cobra.Command, c *client.Client) ([]string, error) {
		list, err := c.Apps(cmd.Context(), client.AppQuery{Fields: "items.metadata.name,items.metadata.namespace"})
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range list.Items {
			out = append(out, Qualified(&list.Items[i]))
		}
		return out, nil
	})
}
