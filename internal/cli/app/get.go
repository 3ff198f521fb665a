package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

type getFlags struct {
	output, namespace, sourceName    string
	refresh, hard, operation, params bool
	sourcePosition                   int
	timeout                          uint
}

func (v *verbs) get() *cobra.Command {
	f := &getFlags{}
	c := &cobra.Command{Use: "get APPNAME", Short: "Show an Application with its objects", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.StringVarP(&f.output, "output", "o", "wide", "wide, json, yaml, tree or tree=detailed")
	fs.BoolVar(&f.refresh, "refresh", false, "compare again before answering")
	fs.BoolVar(&f.hard, "hard-refresh", false, "compare again, ignoring what is cached")
	fs.BoolVar(&f.operation, "show-operation", false, "also show the running or last operation")
	fs.BoolVar(&f.params, "show-params", false, "also show the parameters of Helm")
	fs.StringVar(&f.sourceName, "source-name", "", "source that --show-params is about, by name")
	fs.IntVar(&f.sourcePosition, "source-position", -1, "source that --show-params is about, counted from 1")
	fs.UintVar(&f.timeout, "timeout", 0, "seconds to wait for a refresh before showing what is known")
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error { return v.runGet(cmd.Context(), args[0], f) }
	return c
}

// namespaceFlag adds -N.
func (v *verbs) namespaceFlag(c *cobra.Command, into *string) {
	c.Flags().StringVarP(into, "app-namespace", "N", "", "namespace of the Application")
}

func (v *verbs) runGet(ctx context.Context, arg string, f *getFlags) error {
	switch f.output {
	case "wide", "", "json", "yaml", "tree", "tree=detailed":
	default:
		return output.Unknown(f.output)
	}
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	id := appID(arg, f.namespace)
	app, err := v.read(ctx, c, id, f)
	if err != nil {
		return err
	}
	if f.output == "json" || f.output == "yaml" {
		return output.Object(v.d.Console.Out, f.output, app)
	}
	return v.show(ctx, c, app, f)
}

// refreshOf is the kind of refresh that flags ask for.
func refreshOf(refresh, hard bool) string {
	switch {
	case hard:
		return string(v1alpha1.RefreshHard)
	case refresh:
		return string(v1alpha1.RefreshNormal)
	}
	return ""
}

// read reads an Application, and after the timeout what is known of it.
func (v *verbs) read(ctx context.Context, c *client.Client, id client.App, f *getFlags) (*v1alpha1.Application, error) {
	kind := refreshOf(f.refresh, f.hard)
	if kind == "" || f.timeout == 0 {
		return c.App(ctx, id, kind)
	}
	limit := time.Duration(f.timeout) * time.Second //nolint:gosec // seconds that a person wrote
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	app, err := c.App(inner, id, kind)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		v.d.Console.Warnf("The refresh of %s has not ended within %d seconds; this is what is known.", id.Name, f.timeout)
		return c.App(ctx, id, "")
	}
	return app, err
}

// show prints an Application for people.
func (v *verbs) show(ctx context.Context, c *client.Client, app *v1alpha1.Application, f *getFlags) error {
	w := v.d.Console.Out
	id := client.App{Namespace: app.Namespace, Name: app.Name}
	windows, err := c.SyncWindows(ctx, id)
	if err != nil {
		return err
	}
	if err := printSummary(w, app, appURL(ctx, c, app), windows); err != nil {
		return err
	}
	v.d.Console.Printf("\n")
	if err := printConditions(w, app); err != nil {
		return err
	}
	if f.operation {
		if err := printOperation(w, app.Status.OperationState, v.d.Console.Clock.Now()); err != nil {
			return err
		}
		v.d.Console.Printf("\n")
	}
	if f.params {
		if err := v.showParams(app, f); err != nil {
			return err
		}
		v.d.Console.Printf("\n")
	}
	return v.showObjects(ctx, c, app, f.output, nil)
}

// showObjects prints the objects of an Application as table or tree.
func (v *verbs) showObjects(ctx context.Context, c *client.Client, app *v1alpha1.Application, format string, pick func(key) bool) error {
	w := v.d.Console.Out
	if format != "tree" && format != "tree=detailed" {
		return printStates(w, states(app, pick))
	}
	tree, err := c.Tree(ctx, client.App{Namespace: app.Namespace, Name: app.Name})
	if err != nil {
		return err
	}
	return printTree(w, app, tree, format == "tree=detailed", v.d.Console.Clock.Now())
}

// showParams prints the parameters of a Helm source.
func (v *verbs) showParams(app *v1alpha1.Application, f *getFlags) error {
	i, err := sourceIndex(app, f.sourceName, f.sourcePosition)
	if err != nil {
		return err
	}
	sources := app.Spec.GetSources()
	table := [][]string{{"NAME", "VALUE"}}
	if h := sources[i].Helm; h != nil {
		for _, p := range h.Parameters {
			value := p.Value
			if runes := []rune(value); len(runes) > 80 {
				value = string(runes[:77]) + "..."
			}
			table = append(table, []string{p.Name, value})
		}
	}
	return output.Table(v.d.Console.Out, table)
}

// sourceIndex finds the source that flags name: position counts from 1.
func sourceIndex(app *v1alpha1.Application, name string, position int) (int, error) {
	sources := app.Spec.GetSources()
	switch {
	case len(sources) == 0:
		return 0, fmt.Errorf("application %s has no source", app.Name)
	case name != "" && position >= 0:
		return 0, fail.Fatal("Only one of source-position and source-name can be specified.")
	case name != "":
		for i := range sources {
			if sources[i].Name == name {
				return i, nil
			}
		}
		return 0, fail.Fatal("application %s has no source with the name %s", app.Name, name)
	case len(app.Spec.Sources) == 0:
		return 0, nil
	case position < 0:
		return 0, &fail.Error{Code: fail.Failure, Err: errors.New("Source position should be specified and must be greater than 0 for applications with multiple sources"), Remedy: "add --source-position N or --source-name NAME"}
	case position < 1 || position > len(sources):
		return 0, fail.Fatal("Source position should be specified and must be greater than 0 for applications with multiple sources; %s has %d", app.Name, len(sources))
	}
	return position - 1, nil
}
