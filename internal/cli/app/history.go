package app

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) history() *cobra.Command {
	var namespace, format string
	c := &cobra.Command{Use: "history APPNAME", Short: "List what was deployed when", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, id, json or yaml")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		app, err := c.App(cmd.Context(), appID(args[0], namespace), "")
		if err != nil {
			return err
		}
		switch format {
		case "id":
			for i := range app.Status.History {
				v.d.Console.Printf("%d\n", app.Status.History[i].ID)
			}
			return nil
		case "wide", "":
			return printHistory(v.d.Console.Out, app.Status.History)
		}
		return output.List(v.d.Console.Out, format, app.Status.History)
	}
	return c
}

// deployed is one row of a block of app history.
type deployed struct {
	id             int64
	date, revision string
}

// printHistory prints a block for each repository (spec/cli.md §2.1).
func printHistory(w io.Writer, history []v1alpha1.RevisionHistory) error {
	blocks := map[string][]deployed{}
	var repos []string
	for i := range history {
		h := &history[i]
		sources, revisions := h.Sources, h.Revisions
		if len(sources) == 0 {
			sources, revisions = []v1alpha1.ApplicationSource{h.Source}, []string{h.Revision}
		}
		for j, s := range sources {
			revision := s.TargetRevision
			if j < len(revisions) && revisions[j] != "" {
				if len(revisions[j]) >= 7 && sha.MatchString(revisions[j]) {
					revision = fmt.Sprintf("%s (%s)", s.TargetRevision, revisions[j][:7])
				} else if revisions[j] != s.TargetRevision {
					revision = fmt.Sprintf("%s (%s)", s.TargetRevision, revisions[j])
				}
			}
			if !slices.Contains(repos, s.RepoURL) {
				repos = append(repos, s.RepoURL)
			}
			blocks[s.RepoURL] = append(blocks[s.RepoURL], deployed{h.ID, h.DeployedAt.String(), revision})
		}
	}
	for i, repo := range repos {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		table := [][]string{{"SOURCE", repo}, {"ID", "DATE", "REVISION"}}
		for _, d := range blocks[repo] {
			table = append(table, []string{fmt.Sprint(d.id), d.date, d.revision})
		}
		if err := output.Table(w, table); err != nil {
			return err
		}
	}
	return nil
}
