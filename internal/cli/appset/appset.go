// Package appset is the group of commands about ApplicationSets and their
// rollouts (spec/cli.md §5, spec/progressive-sync.md §7.9).
//
//   - appset.go, write.go: the sets themselves
//   - rollout.go: asking about rollouts and steering them; view.go: how that looks
package appset

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

type verbs struct{ d *connect.Dialer }

// Command is the group.
func Command(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("appset", "Manage ApplicationSets and their rollouts",
		v.list(), v.get(), v.create(), v.generate(), v.delete(), v.confirmDeletion(), v.rollout())
}

func (v *verbs) names() cobra.CompletionFunc {
	return command.Complete(v.d, func(cmd *cobra.Command, c *client.Client) ([]string, error) {
		sets, err := c.Sets(cmd.Context(), client.SetQuery{})
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range sets {
			out = append(out, qualified(&sets[i]))
		}
		return out, nil
	})
}

func qualified(s *v1alpha1.ApplicationSet) string {
	if s.Namespace == "" {
		return s.Name
	}
	return s.Namespace + "/" + s.Name
}

func (v *verbs) list() *cobra.Command {
	var format string
	q := client.SetQuery{}
	c := &cobra.Command{Use: "list", Short: "List ApplicationSets", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, name, json or yaml")
	c.Flags().StringVarP(&q.Selector, "selector", "l", "", "only those with these labels")
	c.Flags().StringSliceVarP(&q.Projects, "project", "p", nil, "only those of this project; may be repeated")
	c.Flags().StringVarP(&q.Namespace, "appset-namespace", "N", "", "only those in this namespace")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		sets, err := api.Sets(cmd.Context(), q)
		if err != nil {
			return err
		}
		switch format {
		case "name":
			for i := range sets {
				v.d.Console.Printf("%s\n", qualified(&sets[i]))
			}
			return nil
		case "wide", "":
			return printSets(v.d.Console.Out, sets)
		}
		return output.List(v.d.Console.Out, format, sets)
	}
	return c
}

func printSets(w io.Writer, sets []v1alpha1.ApplicationSet) error {
	table := [][]string{{"NAME", "PROJECT", "SYNCPOLICY", "HEALTH", "CONDITIONS", "REPO", "PATH", "TARGET"}}
	for i := range sets {
		s := &sets[i]
		first := source(s)
		table = append(table, []string{
			qualified(s), s.Spec.Template.Spec.Project, setPolicy(s), health(s), conditions(s), first.RepoURL, first.Path, first.TargetRevision,
		})
	}
	return output.Table(w, table)
}

func source(s *v1alpha1.ApplicationSet) v1alpha1.ApplicationSource {
	if all := s.Spec.Template.Spec.GetSources(); len(all) > 0 {
		return all[0]
	}
	return v1alpha1.ApplicationSource{}
}

// setPolicy is what the set does with its Applications: the reference prints a
// Go value here, which nobody can read.
func setPolicy(s *v1alpha1.ApplicationSet) string {
	p := s.Spec.SyncPolicy
	if p == nil {
		return "nil"
	}
	var all []string
	if p.ApplicationsSync != nil {
		all = append(all, *p.ApplicationsSync)
	}
	if p.PreserveResourcesOnDeletion {
		all = append(all, "preserve")
	}
	return cmp.Or(strings.Join(all, ","), "sync")
}

func health(s *v1alpha1.ApplicationSet) string {
	if s.Status.Health == nil {
		return string(v1alpha1.HealthUnknown)
	}
	return string(s.Status.Health.Status)
}

func conditions(s *v1alpha1.ApplicationSet) string {
	var all []string
	for _, c := range s.Status.Conditions {
		if c.Status == "True" {
			all = append(all, c.Type)
		}
	}
	return cmp.Or(strings.Join(all, ","), "<none>")
}

func (v *verbs) get() *cobra.Command {
	var format, namespace string
	var params bool
	c := &cobra.Command{Use: "get APPSETNAME", Short: "Show an ApplicationSet", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.Flags().BoolVar(&params, "show-params", false, "also show the parameters of Helm in the template")
	c.Flags().StringVarP(&namespace, "appset-namespace", "N", "", "namespace of the ApplicationSet")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ns, name := command.Name(args[0], namespace)
		s, err := api.Set(cmd.Context(), ns, name)
		if err != nil {
			return err
		}
		return v.show(cmd.Context(), s, format, params)
	}
	return c
}

func (v *verbs) show(_ context.Context, s *v1alpha1.ApplicationSet, format string, params bool) error {
	switch format {
	case "wide", "":
	default:
		return output.Object(v.d.Console.Out, format, s)
	}
	w := v.d.Console.Out
	if err := printSet(w, s); err != nil {
		return err
	}
	if params {
		v.d.Console.Printf("\n")
		table := [][]string{{"NAME", "VALUE"}}
		if h := source(s).Helm; h != nil {
			for _, p := range h.Parameters {
				table = append(table, []string{p.Name, p.Value})
			}
		}
		return output.Table(w, table)
	}
	return nil
}

// printSet prints a set as appset get does.
func printSet(w io.Writer, s *v1alpha1.ApplicationSet) error {
	t := &s.Spec.Template.Spec
	policy := "<none>"
	if t.SyncPolicy != nil && t.SyncPolicy.Automated != nil {
		policy = "Automated"
		if t.SyncPolicy.Automated.Prune {
			policy += " (Prune)"
		}
	}
	label := "Source:"
	if len(t.Sources) > 0 {
		label = "Sources:"
	}
	rows := [][2]string{
		{"Name:", qualified(s)}, {"Project:", t.Project}, {"Server:", cmp.Or(t.Destination.Server, t.Destination.Name)},
		{"Namespace:", t.Destination.Namespace}, {"Health Status:", health(s)}, {label, ""},
	}
	for _, src := range t.GetSources() {
		rows = append(rows, [2]string{"- Repo:", src.RepoURL}, [2]string{"  Target:", src.TargetRevision})
		if src.Path != "" {
			rows = append(rows, [2]string{"  Path:", src.Path})
		}
		if src.Chart != "" {
			rows = append(rows, [2]string{"  Chart:", src.Chart})
		}
	}
	rows = append(rows, [2]string{"SyncPolicy:", policy})
	for _, r := range rows {
		if err := output.Row(w, r[0], r[1]); err != nil {
			return err
		}
	}
	if len(s.Status.Conditions) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	table := [][]string{{"CONDITION", "STATUS", "MESSAGE", "LAST TRANSITION"}}
	for _, c := range s.Status.Conditions {
		at := "<unknown>"
		if c.LastTransitionTime != nil {
			at = c.LastTransitionTime.String()
		}
		table = append(table, []string{c.Type, c.Status, c.Message, at})
	}
	return output.Table(w, table)
}
