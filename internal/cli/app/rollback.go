package app

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// rollback brings back what was deployed before.
func (v *verbs) rollback() *cobra.Command {
	var namespace, format string
	var prune bool
	var timeout uint
	c := &cobra.Command{Use: "rollback APPNAME [ID]", Short: "Bring back an earlier deployment", Args: command.Args(1, 2), ValidArgsFunction: v.names()}
	c.Flags().BoolVar(&prune, "prune", false, "delete what the earlier deployment did not have")
	c.Flags().UintVar(&timeout, "timeout", 0, "seconds to wait; 0 is for ever")
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json, yaml, tree or tree=detailed")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := v.d.Client(ctx)
		if err != nil {
			return err
		}
		id := appID(args[0], namespace)
		app, err := c.App(ctx, id, "")
		if err != nil {
			return err
		}
		entry, err := historyID(app, args[1:])
		if err != nil {
			return err
		}
		started, err := c.Rollback(ctx, id, entry, prune)
		if err != nil {
			return err
		}
		done, err := v.await(ctx, c, id, waiting{goal: goal{operation: true}, timeout: timeout, output: format, since: started.ResourceVersion})
		if err != nil {
			return err
		}
		v.holds(done)
		return verdict(done, false)
	}
	return c
}

// historyID finds the deployment to go back to; without an argument the one
// before the last.
func historyID(app *v1alpha1.Application, args []string) (int64, error) {
	history := app.Status.History
	if len(args) == 0 {
		if len(history) < 2 {
			return 0, fail.Fatal("unable to rollback: application %s should have at least two successful deployments, it has %d", app.Name, len(history))
		}
		return history[len(history)-2].ID, nil
	}
	id, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return 0, fail.Fatal("%q is no number: the first column of app history %s has the ids", args[0], app.Name)
	}
	for i := range history {
		if history[i].ID == id {
			return id, nil
		}
	}
	return 0, fail.Fatal("application '%s' does not have deployment id '%d' in history", app.Name, id)
}

// holds says in one line that the Application holds what was deployed. It goes
// where errors go, so that what a program reads stays as it is.
func (v *verbs) holds(app *v1alpha1.Application) {
	if app == nil || app.Status.Hold == nil {
		return
	}
	h := app.Status.Hold
	_, _ = fmt.Fprintf(v.d.Console.Err, "Application '%s' now holds %s: automated sync leaves it there until the target changes; '%s app resume %s' releases it\n", // a message more or less
		app.Name, strings.Join(shorts(h.Revisions), ", "), v.d.Console.Name, app.Name)
}

func (v *verbs) resume() *cobra.Command {
	return v.forEach("resume", "Let held Applications sync by themselves again", "Application '%s' is no longer held\n",
		func(ctx context.Context, c *client.Client, id client.App) error {
			_, err := c.Resume(ctx, id)
			return err
		})
}

func (v *verbs) terminate() *cobra.Command {
	return v.forEach("terminate-op", "End the running operation of Applications", "Application '%s' operation terminating\n",
		func(ctx context.Context, c *client.Client, id client.App) error { return c.Terminate(ctx, id) })
}

// forEach is a verb that does one thing to several Applications and says so.
func (v *verbs) forEach(use, short, done string, do func(context.Context, *client.Client, client.App) error) *cobra.Command {
	var namespace string
	c := &cobra.Command{Use: use + " APPNAME...", Short: short, Args: command.Args(1, -1), ValidArgsFunction: v.names()}
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		for _, a := range args {
			id := appID(a, namespace)
			if err := do(cmd.Context(), c, id); err != nil {
				return err
			}
			v.d.Console.Printf(done, id.Name)
		}
		return nil
	}
	return c
}
