package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// syncFlags are those of app sync (spec/cli.md §2.3).
type syncFlags struct {
	revision, strategy, selector, namespace, output             string
	local                                                       localFolder
	revisions, sourceNames, resources, labels, infos, projects  []string
	positions                                                   []int64
	prune, dryRun, force, replace, serverSide, outOfSync, async bool
	preview, yes, retryRefresh                                  bool
	retryLimit, retryFactor                                     int64
	retryDuration, retryMax                                     time.Duration
	timeout                                                     uint
	serverDiffConcurrency, serverDiffBatch                      int
}

func (v *verbs) sync() *cobra.Command {
	f := &syncFlags{}
	c := &cobra.Command{Use: "sync [APPNAME... | -l selector | --project project-name]", Short: "Bring Applications to what Git says", Args: cobra.ArbitraryArgs, ValidArgsFunction: v.names()}
	f.register(c)
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && f.selector == "" && len(f.projects) == 0 {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		f.local.given(cmd.Flags())
		if err := f.validate(args); err != nil {
			return err
		}
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ids, err := v.selected(cmd.Context(), c, args, client.AppQuery{Selector: f.selector, Projects: f.projects, Namespace: f.namespace})
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := v.syncOne(cmd.Context(), c, id, f); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (f *syncFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.BoolVar(&f.dryRun, "dry-run", false, "change nothing")
	fs.BoolVar(&f.prune, "prune", false, "delete what Git no longer has")
	fs.StringVar(&f.revision, "revision", "", "revision to sync to instead of the target revision")
	fs.StringArrayVar(&f.revisions, "revisions", nil, "revision of a source at --source-positions; may be repeated")
	fs.Int64SliceVar(&f.positions, "source-positions", nil, "sources that --revisions are for, counted from 1")
	fs.StringArrayVar(&f.sourceNames, "source-names", nil, "sources that --revisions are for, by name; may be repeated")
	fs.StringArrayVar(&f.resources, "resource", nil, "only these objects: GROUP:KIND:[NAMESPACE/]NAME, * globs, a leading ! leaves out; may be repeated")
	fs.StringVarP(&f.selector, "selector", "l", "", "all Applications with these labels")
	fs.StringSliceVar(&f.projects, "project", nil, "all Applications of this project; may be repeated")
	fs.StringArrayVar(&f.labels, "label", nil, "only objects with this label KEY=VALUE; may be repeated")
	fs.StringArrayVar(&f.infos, "info", nil, "NAME=VALUE to remember with the sync; may be repeated")
	fs.UintVar(&f.timeout, "timeout", 0, "seconds to wait; 0 is for ever")
	fs.Int64Var(&f.retryLimit, "retry-limit", 0, "how often a failed sync is tried again; negative is for ever")
	fs.BoolVar(&f.retryRefresh, "retry-refresh", false, "try again with the newest revision")
	fs.DurationVar(&f.retryDuration, "retry-backoff-duration", 5*time.Second, "first pause between tries")
	fs.DurationVar(&f.retryMax, "retry-backoff-max-duration", 3*time.Minute, "longest pause between tries")
	fs.Int64Var(&f.retryFactor, "retry-backoff-factor", 2, "by what the pause grows")
	fs.StringVar(&f.strategy, "strategy", "", "hook, the default, or apply, which runs no hooks")
	fs.BoolVar(&f.force, "force", false, "delete and create what cannot be changed")
	fs.BoolVar(&f.replace, "replace", false, "replace objects instead of applying them")
	fs.BoolVar(&f.serverSide, "server-side", false, "apply on the server")
	fs.BoolVar(&f.outOfSync, "apply-out-of-sync-only", false, "leave objects alone that are in sync")
	fs.BoolVar(&f.async, "async", false, "do not wait for the end")
	f.local.register(fs, "folder whose manifests, rendered by the server, are synced instead of those of Git", "/")
	fs.BoolVar(&f.preview, "preview-changes", false, "show the differences and ask before syncing")
	fs.BoolVar(&f.yes, "assumeYes", false, "do not ask")
	fs.StringVarP(&f.output, "output", "o", "wide", "wide, json, yaml, tree or tree=detailed")
	fs.IntVar(&f.serverDiffConcurrency, "server-side-diff-concurrency", -1, "accepted: the server bounds itself")
	fs.IntVar(&f.serverDiffBatch, "server-side-diff-max-batch-kb", 250, "accepted: the server bounds itself")
}

func (f *syncFlags) validate(args []string) error {
	switch {
	case len(args) > 0 && f.selector != "":
		return fail.Fatal("Cannot use selector option when application name(s) passed as argument(s)")
	case len(f.positions) > 0 && len(f.sourceNames) > 0:
		return fail.Fatal("Only one of source-positions and source-names can be specified.")
	case len(f.positions) > 0 && len(f.revisions) != len(f.positions), len(f.sourceNames) > 0 && len(f.revisions) != len(f.sourceNames):
		return fail.Fatal("While using --revisions and --source-positions or --source-names, length of values for both flags should be same.")
	case len(f.revisions) > 0 && len(f.positions)+len(f.sourceNames) == 0:
		return fail.Fatal("--revisions needs --source-positions or --source-names: say which source each revision is for")
	case len(f.labels) > 0 && len(f.resources) > 0:
		return fail.Fatal("--label and --resource exclude each other: use one of them")
	case f.strategy != "" && f.strategy != "apply" && f.strategy != "hook":
		return fail.Fatal("Unknown sync strategy: '%s': use apply or hook", f.strategy)
	}
	return nil
}

// request is what the flags ask the server for.
func (f *syncFlags) request(app *v1alpha1.Application) (client.SyncRequest, error) {
	r := client.SyncRequest{Revision: f.revision, DryRun: f.dryRun, Prune: f.prune}
	if len(f.revisions) == 0 && len(app.Spec.Sources) > 0 && f.revision != "" {
		return r, fail.Fatal("argument of \"--revision\" is not supported for application %s, which has several sources: use --revisions with --source-positions or --source-names", app.Name)
	}
	positions, err := f.sourcePositions(app)
	if err != nil {
		return r, err
	}
	r.Revisions, r.SourcePositions = f.revisions, positions
	force := v1alpha1.SyncStrategyApply{Force: f.force}
	if f.strategy == "apply" {
		r.Strategy = &v1alpha1.SyncStrategy{Apply: &force}
	} else {
		r.Strategy = &v1alpha1.SyncStrategy{Hook: &v1alpha1.SyncStrategyHook{SyncStrategyApply: force}}
	}
	infos, err := command.Pairs(f.infos, "--info")
	if err != nil {
		return r, fail.Fatal("%w", err)
	}
	for _, word := range f.infos {
		name, _, _ := strings.Cut(word, "=")
		r.Infos = append(r.Infos, &v1alpha1.Info{Name: name, Value: infos[name]})
	}
	if f.retryLimit != 0 {
		factor := f.retryFactor
		r.RetryStrategy = &v1alpha1.RetryStrategy{Limit: f.retryLimit, Refresh: f.retryRefresh, Backoff: &v1alpha1.Backoff{
			Duration: f.retryDuration.String(), MaxDuration: f.retryMax.String(), Factor: &factor,
		}}
	}
	r.SyncOptions = f.options(app)
	return r, nil
}

// options are those of the Application with those of the flags: what a request
// sends replaces them all.
func (f *syncFlags) options(app *v1alpha1.Application) *client.Items {
	var extra []string
	for _, o := range []struct {
		on     bool
		option string
	}{{f.replace, "Replace=true"}, {f.serverSide, "ServerSideApply=true"}, {f.outOfSync, "ApplyOutOfSyncOnly=true"}} {
		if o.on {
			extra = append(extra, o.option)
		}
	}
	if len(extra) == 0 {
		return nil
	}
	var all []string
	if p := app.Spec.SyncPolicy; p != nil {
		all = slices.Clone(p.SyncOptions)
	}
	for _, o := range extra {
		name, _, _ := strings.Cut(o, "=")
		all = slices.DeleteFunc(all, func(x string) bool { return strings.HasPrefix(x, name+"=") })
		all = append(all, o)
	}
	return &client.Items{Items: all}
}

func (f *syncFlags) sourcePositions(app *v1alpha1.Application) ([]int64, error) {
	return positionsOf(app, f.sourceNames, f.positions)
}

// positionsOf turns names of sources into positions, and checks positions.
func positionsOf(app *v1alpha1.Application, names []string, positions []int64) ([]int64, error) {
	sources := app.Spec.GetSources()
	for _, p := range positions {
		if p < 1 || int(p) > len(sources) {
			return nil, fail.Fatal("source-position cannot be less than 1 or more than number of sources in the app, counting starts at 1: %d, of %d", p, len(sources))
		}
	}
	out := slices.Clone(positions)
	for _, n := range names {
		i := slices.IndexFunc(sources, func(s v1alpha1.ApplicationSource) bool { return s.Name == n })
		if i < 0 {
			return nil, fail.Fatal("unknown source name %s: application %s has no source of that name", n, app.Name)
		}
		out = append(out, int64(i+1))
	}
	return out, nil
}

// syncOne syncs one Application.
func (v *verbs) syncOne(ctx context.Context, c *client.Client, id client.App, f *syncFlags) error {
	app, err := c.App(ctx, id, "")
	if err != nil {
		return err
	}
	r, err := f.request(app)
	if err != nil {
		return err
	}
	chosen, err := v.objects(ctx, c, id, app, f)
	if err != nil {
		return err
	}
	r.Resources = chosen
	if f.local.dir != "" {
		if err := v.localManifests(ctx, c, app, f, &r); err != nil {
			return err
		}
	}
	if f.preview {
		if ok, err := v.previewed(ctx, c, id, app, f); err != nil || !ok {
			return err
		}
	}
	started, err := c.SyncApp(ctx, id, r)
	if err != nil {
		return err
	}
	w := waiting{goal: goal{operation: true}, picks: picks(chosen), timeout: f.timeout, output: f.output, since: started.ResourceVersion}
	if f.async {
		return v.final(ctx, c, started, waiting{output: f.output}, w.picks.function())
	}
	done, err := v.await(ctx, c, id, w)
	if err != nil {
		return err
	}
	if !f.dryRun {
		v.holds(done)
	}
	return verdict(done, f.dryRun)
}

// verdict is the error of an operation that did not succeed.
func verdict(app *v1alpha1.Application, dryRun bool) error {
	if app == nil || app.Status.OperationState == nil {
		return nil
	}
	op := app.Status.OperationState
	if op.Phase != v1alpha1.OperationSucceeded {
		return &fail.Error{Code: fail.Failure, Err: fmt.Errorf("Operation has completed with phase: %s", op.Phase), Remedy: "app get " + app.Name + " --show-operation, app explain " + app.Name} //nolint:staticcheck // scripts know the text
	}
	if dryRun || op.SyncResult == nil {
		return nil
	}
	n := 0
	for _, r := range op.SyncResult.Resources {
		if r != nil && r.Status == v1alpha1.ResultPruneSkipped {
			n++
		}
	}
	if n > 0 {
		return &fail.Error{Code: fail.Failure, Err: fmt.Errorf("%d resources require pruning", n), Remedy: "look at them, and sync again with --prune"}
	}
	return nil
}

// objects are those that --resource and --label choose, by name: the server
// knows no patterns.
func (v *verbs) objects(ctx context.Context, c *client.Client, id client.App, app *v1alpha1.Application, f *syncFlags) ([]client.SyncResource, error) {
	wanted, err := parsePicks(f.resources)
	if err != nil {
		return nil, err
	}
	if len(f.labels) > 0 {
		return v.labelled(ctx, c, id, f.labels)
	}
	pick := wanted.function()
	if pick == nil {
		return nil, nil
	}
	var out []client.SyncResource
	for i := range app.Status.Resources {
		if k := keyOf(&app.Status.Resources[i]); !app.Status.Resources[i].Hook && pick(k) {
			out = append(out, client.SyncResource{Group: k.group, Kind: k.kind, Namespace: k.namespace, Name: k.name})
		}
	}
	if len(out) == 0 {
		return nil, fail.New(v.d.Console.Name+" app resources "+id.Name, "no object of %s fits --resource %s", id.Name, strings.Join(f.resources, ", "))
	}
	return out, nil
}
