package app

import (
	"context"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// render renders a local folder as the server would, as JSON.
func (v *verbs) render(ctx context.Context, app *v1alpha1.Application, dir, root string) ([]string, error) {
	if v.d.Render == nil {
		return nil, fail.New("push the change to a branch, and use --revision BRANCH", "--local: this program was built without a renderer")
	}
	if len(app.Spec.Sources) > 0 {
		return nil, fail.New("use --revisions with --source-positions", "--local: application %s has several sources, a folder can stand for one only", app.Name)
	}
	return v.d.Render(ctx, app, dir, root)
}

// localManifests puts the manifests of --local into a request.
func (v *verbs) localManifests(ctx context.Context, app *v1alpha1.Application, f *syncFlags, r *client.SyncRequest) error {
	if automated(app) != nil && !f.dryRun {
		return fail.New("switch it off with: app set "+app.Name+" --sync-policy none; or look only, with --dry-run",
			"Cannot use local sync when Automatic Sync Policy is enabled except with --dry-run")
	}
	if !f.yes && v.d.Console.OutTerminal && !f.dryRun {
		ok, err := v.d.Console.Confirm("The manifests of " + f.local + " are synced instead of those of Git. Continue (y/n)? ")
		if err != nil {
			return err
		}
		if !ok {
			return fail.Silent(fail.Failure)
		}
	}
	var err error
	r.Manifests, err = v.render(ctx, app, f.local, f.localRoot)
	return err
}

// previewed shows what a sync would change, and asks whether to go on.
func (v *verbs) previewed(ctx context.Context, c *client.Client, id client.App, app *v1alpha1.Application, f *syncFlags) (bool, error) {
	v.d.Console.Printf("====== Previewing differences between live and desired state of application %s ======\n", Qualified(app))
	all, err := v.differences(ctx, c, id, app, &diffFlags{revision: f.revision, revisions: f.revisions, positions: f.positions, sourceNames: f.sourceNames, local: f.local, localRoot: f.localRoot})
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
	if f.yes {
		return true, nil
	}
	return v.d.Console.Confirm("Please review changes to application " + Qualified(app) + " shown above. Do you want to continue the sync process? (y/n): ")
}
