package app

import (
	"context"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

type manifestFlags struct {
	source, revision, namespace string
	local                       localFolder
	revisions, sourceNames      []string
	positions                   []int64
}

func (v *verbs) manifests() *cobra.Command {
	f := &manifestFlags{}
	c := &cobra.Command{Use: "manifests APPNAME", Short: "Print the objects of an Application", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.StringVar(&f.source, "source", "git", "git: what Git says; live: what is there")
	fs.StringVar(&f.revision, "revision", "", "revision to render")
	fs.StringArrayVar(&f.revisions, "revisions", nil, "revision of a source at --source-positions; may be repeated")
	fs.Int64SliceVar(&f.positions, "source-positions", nil, "sources that --revisions are for, counted from 1")
	fs.StringArrayVar(&f.sourceNames, "source-names", nil, "sources that --revisions are for, by name; may be repeated")
	f.local.register(fs, "have this folder rendered instead", ".")
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f.local.given(cmd.Flags())
		texts, err := v.texts(cmd.Context(), args[0], f)
		if err != nil {
			return err
		}
		for _, text := range texts {
			raw, err := yaml.JSONToYAML([]byte(text))
			if err != nil {
				return err
			}
			v.d.Console.Printf("---\n%s", raw)
		}
		return nil
	}
	return c
}

// texts are the objects that flags ask for, as JSON.
func (v *verbs) texts(ctx context.Context, arg string, f *manifestFlags) ([]string, error) {
	if err := (&syncFlags{revisions: f.revisions, positions: f.positions, sourceNames: f.sourceNames}).validate(nil); err != nil {
		return nil, err
	}
	c, err := v.d.Client(ctx)
	if err != nil {
		return nil, err
	}
	id := appID(arg, f.namespace)
	switch f.source {
	case "live":
		managed, err := c.Managed(ctx, id)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range managed {
			if s := managed[i].LiveState; s != "" && s != "null" {
				out = append(out, s)
			}
		}
		return out, nil
	case "git":
	default:
		return nil, fail.Fatal("Unknown source type '%s': use git or live", f.source)
	}
	var app *v1alpha1.Application
	if f.local.dir != "" || len(f.revisions) > 0 {
		if app, err = c.App(ctx, id, ""); err != nil {
			return nil, err
		}
	}
	if f.local.dir != "" {
		return v.render(ctx, c, app, f.local)
	}
	q := client.ManifestQuery{Revision: f.revision, Revisions: f.revisions}
	if len(f.revisions) > 0 {
		if q.Positions, err = positionsOf(app, f.sourceNames, f.positions); err != nil {
			return nil, err
		}
	}
	return c.Manifests(ctx, id, q)
}
