package app

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

type deleteFlags struct {
	cascade, yes, wait          bool
	policy, selector, namespace string
}

func (v *verbs) delete() *cobra.Command {
	f := &deleteFlags{}
	c := &cobra.Command{Use: "delete APPNAME...", Short: "Delete Applications, with their objects unless --cascade=false", Args: cobra.ArbitraryArgs, ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.BoolVar(&f.cascade, "cascade", true, "also delete what the Application manages")
	fs.StringVarP(&f.policy, "propagation-policy", "p", "foreground", "foreground or background")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&f.wait, "wait", false, "wait until the Application is gone")
	fs.StringVarP(&f.selector, "selector", "l", "", "delete all Applications with these labels")
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && f.selector == "" {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		if f.policy != "foreground" && f.policy != "background" {
			return fail.New("use foreground or background", "invalid propagation policy: %s", f.policy)
		}
		return v.runDelete(cmd.Context(), args, f)
	}
	return c
}

func (v *verbs) runDelete(ctx context.Context, args []string, f *deleteFlags) error {
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	var ids []client.App
	for _, a := range args {
		ids = append(ids, appID(a, f.namespace))
	}
	if f.selector != "" {
		list, err := c.Apps(ctx, client.AppQuery{Selector: f.selector, Namespace: f.namespace})
		if err != nil {
			return err
		}
		for i := range list.Items {
			ids = append(ids, client.App{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name})
		}
		if len(ids) == 0 {
			return fail.Fatal("no Application has labels %s", f.selector)
		}
	}
	all := f.yes || !v.d.Console.OutTerminal
	for _, id := range ids {
		if !all {
			answer, err := v.confirm(id, f.cascade, len(ids) > 1)
			if err != nil {
				return err
			}
			if answer == "n" {
				v.d.Console.Printf("The command to delete '%s' was cancelled.\n", id.Name)
				continue
			}
			all = answer == "a"
		}
		if err := v.deleteOne(ctx, c, id, f); err != nil {
			return err
		}
	}
	return nil
}

func (v *verbs) confirm(id client.App, cascade, several bool) (string, error) {
	what := "Are you sure you want to delete '" + id.Name + "'"
	if cascade {
		what += " and all its resources"
	}
	if several {
		return v.d.Console.Choose(what+"? [y/n/a] where 'a' is to delete all specified apps and their resources without prompting ", "y", "n", "a")
	}
	return v.d.Console.Choose(what+"? [y/n] ", "y", "n")
}

func (v *verbs) deleteOne(ctx context.Context, c *client.Client, id client.App, f *deleteFlags) error {
	policy := f.policy
	if !f.cascade {
		policy = "" // without a cascade there is nothing to propagate
	}
	if err := c.DeleteApp(ctx, id, f.cascade, policy); err != nil {
		return err
	}
	if f.wait {
		if err := v.gone(ctx, c, id); err != nil {
			return err
		}
	}
	v.d.Console.Printf("application '%s' deleted\n", id.Name)
	return nil
}

// gone waits until an Application does not exist any more.
func (v *verbs) gone(ctx context.Context, c *client.Client, id client.App) error {
	if app, err := exists(ctx, c, id); err != nil || app == nil {
		return err
	}
	err := c.WatchApps(ctx, client.AppQuery{Name: id.Name, Namespace: id.Namespace}, func(e *client.AppEvent) error {
		if e.Type == "DELETED" && e.Application.Name == id.Name {
			return client.Enough()
		}
		return nil
	})
	if code := client.CodeOf(err); code == client.NotFound || code == client.PermissionDenied {
		return nil
	}
	return err
}

// exists says whether an Application is there; who may not see it is told so.
func exists(ctx context.Context, c *client.Client, id client.App) (*v1alpha1.Application, error) {
	app, err := c.App(ctx, id, "")
	var api *client.Error
	if errors.As(err, &api) && (api.Code == client.NotFound || api.Code == client.PermissionDenied) {
		return nil, nil //nolint:nilnil // it is not there
	}
	return app, err
}
