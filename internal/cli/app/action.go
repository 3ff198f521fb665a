package app

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) actions() *cobra.Command {
	return command.Group("actions", "List and run actions on live objects", v.listActions(), v.runAction())
}

// possible is an action that could be run on an object.
type possible struct {
	Group    string `json:"group"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Action   string `json:"action"`
	Disabled bool   `json:"disabled"`
}

func (v *verbs) listActions() *cobra.Command {
	f := &objectFlags{all: true}
	var format string
	c := &cobra.Command{Use: "list APPNAME", Short: "List actions that can be run", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	v.objectFlags(c, f, false)
	c.Flags().StringVarP(&format, "out", "o", "", "json or yaml; empty is a table")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := v.d.Client(ctx)
		if err != nil {
			return err
		}
		id := appID(args[0], f.appNamespace)
		id.Project = f.project
		tree, err := c.Tree(ctx, id)
		if err != nil {
			return err
		}
		all := []possible{}
		// The Application has actions too, and is no node of its own tree.
		self := client.Node{ResourceRef: client.ResourceRef{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: id.Namespace, Name: id.Name}}
		for _, n := range append([]client.Node{self}, tree.Nodes...) {
			if f.kind != "" && n.Kind != f.kind || f.group != "" && n.Group != f.group || f.namespace != "" && n.Namespace != f.namespace || f.name != "" && n.Name != f.name {
				continue
			}
			actions, err := c.Actions(ctx, id, n.ResourceRef)
			if err != nil {
				if n.UID == "" && client.CodeOf(err) == client.InvalidArgument {
					continue // this server has no actions for Applications themselves
				}
				return err
			}
			for _, a := range actions {
				all = append(all, possible{n.Group, n.Kind, n.Name, a.Name, a.Disabled})
			}
		}
		if format != "" && format != "wide" {
			return output.List(v.d.Console.Out, format, all)
		}
		table := [][]string{{"GROUP", "KIND", "NAME", "ACTION", "DISABLED"}}
		for _, p := range all {
			table = append(table, []string{p.Group, p.Kind, p.Name, p.Action, strconv.FormatBool(p.Disabled)})
		}
		return output.Table(v.d.Console.Out, table)
	}
	return c
}

func (v *verbs) runAction() *cobra.Command {
	f := &objectFlags{}
	c := &cobra.Command{Use: "run APPNAME ACTION", Short: "Run an action on live objects", Args: command.Args(2, 2), ValidArgsFunction: v.names()}
	v.objectFlags(c, f, true)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := v.d.Client(ctx)
		if err != nil {
			return err
		}
		id := appID(args[0], f.appNamespace)
		id.Project = f.project
		all, err := v.find(ctx, c, id, f)
		if err != nil {
			return err
		}
		for _, r := range all {
			if err := c.RunAction(ctx, id, r, args[1]); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}
