package app

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/folder"
)

// localFolder is what --local and the flags beside it name.
type localFolder struct {
	dir, root string
	include   []string
	// whole says that dir may be the root of the repository
	// (--server-side-generate).
	whole bool
}

// register adds --local and --local-repo-root.
func (l *localFolder) register(fs *pflag.FlagSet, usage, root string) {
	fs.StringVar(&l.dir, "local", "", usage)
	fs.StringVar(&l.root, "local-repo-root", root, "root of the repository that --local lies in; unless it is given, the nearest folder above with a .git")
}

// given drops the defaults, which say nothing about where a repository begins.
func (l *localFolder) given(fs *pflag.FlagSet) {
	if !fs.Changed("local-repo-root") {
		l.root = ""
	}
	if f := fs.Lookup("local-include"); f != nil && !f.Changed {
		l.include = nil
	}
}

// render has the server, or core mode, render a local folder in place of the
// source of an Application. Objects are JSON, values of Secrets are masked.
func (v *verbs) render(ctx context.Context, c *client.Client, app *v1alpha1.Application, l localFolder) ([]string, error) {
	source := app.Spec.Source
	switch {
	case len(app.Spec.Sources) > 0:
		return nil, fail.New("use --revisions with --source-positions", "--local: application %s has several sources, a folder can stand for one only", app.Name)
	case source == nil:
		return nil, fail.New("app set "+app.Name+" --repo URL --path PATH", "--local: application %s has no source", app.Name)
	case source.Chart != "":
		return nil, fail.New("use --revision VERSION", "--local: application %s gets chart %s from a repository of charts, a folder cannot stand for it", app.Name, source.Chart)
	}
	archive, err := folder.Pack(folder.Options{
		Dir: l.dir, Root: l.root, Path: source.Path, Whole: l.whole, Include: l.include, Named: folder.NamedBy(source),
	})
	if err != nil {
		return nil, fail.Fatal("%w", err)
	}
	return c.ManifestsOf(ctx, client.App{Namespace: app.Namespace, Name: app.Name}, archive)
}

// localManifests puts the manifests of --local into a request.
func (v *verbs) localManifests(ctx context.Context, c *client.Client, app *v1alpha1.Application, f *syncFlags, r *client.SyncRequest) error {
	if automated(app) != nil && !f.dryRun {
		return fail.New("switch it off with: app set "+app.Name+" --sync-policy none; or look only, with --dry-run",
			"Cannot use local sync when Automatic Sync Policy is enabled except with --dry-run")
	}
	if !f.yes && v.d.Console.OutTerminal && !f.dryRun {
		ok, err := v.d.Console.Confirm("The manifests of " + f.local.dir + " are synced instead of those of Git. Continue (y/n)? ")
		if err != nil {
			return err
		}
		if !ok {
			return fail.Silent(fail.Failure)
		}
	}
	texts, err := v.render(ctx, c, app, f.local)
	if err != nil {
		return err
	}
	for _, text := range texts {
		o, err := decode(text)
		if err != nil {
			return err
		}
		if o != nil && o.GetKind() == "Secret" && o.GetAPIVersion() == "v1" {
			v.d.Log("warn", "Secret "+o.GetName()+" is left as it is: its values would stand in the Application for everybody to read; change it through Git")
			continue
		}
		r.Manifests = append(r.Manifests, text)
	}
	if len(r.Manifests) == 0 {
		return fail.Fatal("--local: %s renders to nothing that can be synced", f.local.dir)
	}
	return nil
}

// previewed shows what a sync would change, and asks whether to go on.
func (v *verbs) previewed(ctx context.Context, c *client.Client, id client.App, app *v1alpha1.Application, f *syncFlags) (bool, error) {
	v.d.Console.Printf("====== Previewing differences between live and desired state of application %s ======\n", Qualified(app))
	all, err := v.differences(ctx, c, id, app, &diffFlags{revision: f.revision, revisions: f.revisions, positions: f.positions, sourceNames: f.sourceNames, local: f.local})
	if err != nil {
		return false, err
	}
	if len(all) == 0 {
		v.d.Console.Printf("====== No Differences found ======\n")
		return true, nil
	}
	if err := v.printDifferences(ctx, all); err != nil {
		return false, err
	}
	if f.yes || !v.d.Console.OutTerminal { // spec/cli.md, conventions: nobody is asked in a pipe
		return true, nil
	}
	return v.d.Console.Confirm("Please review changes to application " + Qualified(app) + " shown above. Do you want to continue the sync process? (y/n): ")
}
