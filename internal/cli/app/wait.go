package app

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// goal is what a command waits for (spec/cli.md §2.2).
type goal struct {
	sync, health, suspended, degraded, operation, deleted, hydrated bool
}

// orAll is the goal when nothing was asked for.
func (g goal) orAll() goal {
	if g == (goal{}) {
		return goal{sync: true, health: true, operation: true}
	}
	return g
}

type waitFlags struct {
	goal
	resources                   []string
	selector, namespace, output string
	timeout                     uint
}

func (v *verbs) wait() *cobra.Command {
	f := &waitFlags{}
	c := &cobra.Command{Use: "wait [APPNAME... | -l selector]", Short: "Wait until Applications are synced and healthy", Args: cobra.ArbitraryArgs, ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.BoolVar(&f.sync, "sync", false, "wait until it is synced")
	fs.BoolVar(&f.health, "health", false, "wait until it is healthy")
	fs.BoolVar(&f.suspended, "suspended", false, "wait until it is suspended")
	fs.BoolVar(&f.degraded, "degraded", false, "wait until it is degraded")
	fs.BoolVar(&f.operation, "operation", false, "wait until no operation runs")
	fs.BoolVar(&f.deleted, "delete", false, "wait until it is gone")
	fs.BoolVar(&f.hydrated, "hydrated", false, "wait until its manifests are rendered into the branch")
	fs.UintVar(&f.timeout, "timeout", 0, "seconds to wait; 0 is for ever")
	fs.StringVarP(&f.selector, "selector", "l", "", "all Applications with these labels")
	fs.StringArrayVar(&f.resources, "resource", nil, "only these objects: GROUP:KIND:[NAMESPACE/]NAME, * globs, a leading ! leaves out; may be repeated")
	fs.StringVarP(&f.output, "output", "o", "wide", "wide, json, yaml, tree or tree=detailed")
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && f.selector == "" {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		picks, err := parsePicks(f.resources)
		if err != nil {
			return err
		}
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ids, err := v.selected(cmd.Context(), c, args, client.AppQuery{Selector: f.selector, Namespace: f.namespace})
		if err != nil {
			return err
		}
		for _, id := range ids {
			w := waiting{goal: f.goal.orAll(), picks: picks, timeout: f.timeout, output: f.output}
			if _, err := v.await(cmd.Context(), c, id, w); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// selected are the Applications that arguments and a selector name.
func (v *verbs) selected(ctx context.Context, c *client.Client, args []string, q client.AppQuery) ([]client.App, error) {
	var ids []client.App
	for _, a := range args {
		ids = append(ids, appID(a, q.Namespace))
	}
	if q.Selector == "" && len(q.Projects) == 0 {
		return ids, nil
	}
	list, err := c.Apps(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		ids = append(ids, client.App{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name})
	}
	if len(ids) == 0 {
		var filter []string
		if q.Selector != "" {
			filter = append(filter, "selector "+q.Selector)
		}
		if len(q.Projects) > 0 {
			filter = append(filter, "project "+strings.Join(q.Projects, ", "))
		}
		return nil, fail.Fatal("No matching apps found for filter: %s", strings.Join(filter, ", "))
	}
	return ids, nil
}

// picks choose objects.
type picks []client.SyncResource

// parsePicks reads GROUP:KIND:[NAMESPACE/]NAME.
func parsePicks(words []string) (picks, error) {
	var out picks
	for _, w := range words {
		text, exclude := strings.CutPrefix(w, "!")
		parts := strings.SplitN(text, ":", 3)
		if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
			return nil, fail.Fatal("Resource should have GROUP:KIND:NAME, but instead got: %s", w)
		}
		ns, name := command.Name(parts[2], "")
		out = append(out, client.SyncResource{Group: parts[0], Kind: parts[1], Namespace: ns, Name: name, Exclude: exclude})
	}
	return out, nil
}

// function says which objects count; nil is all of them.
func (p picks) function() func(key) bool {
	if len(p) == 0 {
		return nil
	}
	includes := false
	for _, r := range p {
		includes = includes || !r.Exclude
	}
	return func(k key) bool {
		in := !includes
		for _, r := range p {
			if !fits(r.Group, k.group) || !fits(r.Kind, k.kind) || !fits(r.Name, k.name) || r.Namespace != "" && !fits(r.Namespace, k.namespace) {
				continue
			}
			if r.Exclude {
				return false
			}
			in = true
		}
		return in
	}
}

func fits(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return pattern == text || err == nil && ok
}

// waiting is one wait.
type waiting struct {
	goal
	picks   picks
	timeout uint
	output  string
	// since is the resource version from which states count.
	since string
}

// errTimeout is the cause of a context that ends a wait.
var errTimeout = errors.New("timeout")

// await waits and prints what becomes of the Application.
func (v *verbs) await(ctx context.Context, c *client.Client, id client.App, w waiting) (*v1alpha1.Application, error) {
	inner := ctx
	if w.timeout > 0 {
		var cancel context.CancelFunc
		inner, cancel = context.WithTimeoutCause(ctx, time.Duration(w.timeout)*time.Second, errTimeout) //nolint:gosec // seconds that a person wrote
		defer cancel()
	}
	pick := w.picks.function()
	shown := v.newProgress(w.output, pick)
	var last *v1alpha1.Application
	judge := w.judge(id.Name, pick)
	err := v.follow(inner, c, id, w.since, func(app *v1alpha1.Application) (bool, error) {
		if app == nil {
			if w.deleted {
				return true, nil
			}
			return false, fmt.Errorf("application '%s' does not exist, or you may not see it", id.Name)
		}
		last = app
		shown.see(app, v.d.Console.Clock.Now())
		return judge(app)
	})
	shown.done()
	timedOut := errors.Is(context.Cause(inner), errTimeout) && err != nil
	switch {
	case err == nil && w.deleted:
		v.d.Console.Printf("Application '%s' deleted\n", id.Name)
		return nil, nil
	case timedOut:
		v.d.Console.Printf("\nThis is the state of the app after wait timed out:\n")
	case err != nil:
		return last, err
	}
	met := last // by the time it is shown, another operation may have begun
	if fresh, readErr := c.App(ctx, id, string(v1alpha1.RefreshNormal)); readErr == nil && !timedOut {
		last = fresh
	}
	if last != nil {
		if err := v.final(ctx, c, last, w, pick); err != nil {
			return last, err
		}
	}
	if timedOut {
		v.d.Console.Printf("The command timed out waiting for the conditions to be met.\n")
		return last, fail.New(v.d.Console.Name+" app explain "+id.Name, "timed out (%ds) waiting for app %q match desired state", w.timeout, id.Name)
	}
	return met, nil
}

// judge says when the goal is reached, and fails when an object becomes
// Degraded while health is waited for.
func (w waiting) judge(name string, pick func(key) bool) func(*v1alpha1.Application) (bool, error) {
	before := v1alpha1.HealthStatusCode("")
	rows := map[key]string{}
	return func(app *v1alpha1.Application) (bool, error) {
		health := app.Status.Health.Status
		synced := app.Status.Sync.Status == v1alpha1.SyncStatusSynced
		healthy := w.healthy(string(health))
		if pick != nil {
			synced, healthy = true, true
			for _, s := range states(app, pick) {
				if s.hook != "" {
					continue
				}
				synced = synced && s.status == string(v1alpha1.SyncStatusSynced)
				healthy = healthy && (s.health == "" || w.healthy(s.health))
				if err := w.turned(name, rows[s.key], s.health); err != nil {
					return false, err
				}
				rows[s.key] = s.health
			}
		} else if err := w.turned(name, string(before), string(health)); err != nil {
			return false, err
		}
		before = health
		reached := (!w.sync || synced) && healthy && (!w.operation || idle(app)) && (!w.hydrated || hydrated(app)) && !w.deleted
		return reached, nil
	}
}

// turned is the error for health that was lost while waiting for it.
func (w waiting) turned(name, before, now string) error {
	if !w.health || w.degraded || now != string(v1alpha1.HealthDegraded) {
		return nil
	}
	switch before {
	case "", string(v1alpha1.HealthUnknown), string(v1alpha1.HealthDegraded):
		return nil
	}
	return fail.New("look at its objects: app get "+name+", app explain "+name, "application '%s' health state has transitioned from %s to Degraded", name, before)
}

func (w waiting) healthy(status string) bool {
	if !w.health && !w.suspended && !w.degraded {
		return true
	}
	return w.health && status == string(v1alpha1.HealthHealthy) || w.suspended && status == string(v1alpha1.HealthSuspended) ||
		w.degraded && status == string(v1alpha1.HealthDegraded)
}

// idle says that no operation is asked for or runs, and that live state was
// compared after the last one.
func idle(app *v1alpha1.Application) bool {
	op := app.Status.OperationState
	switch {
	case app.Operation != nil:
		return false
	case op == nil:
		return true
	case !op.Phase.Completed() || op.FinishedAt == nil:
		return false
	case op.ID != "":
		return app.Status.Sync.AfterOperation == op.ID || after(app, op)
	}
	return after(app, op)
}

func hydrated(app *v1alpha1.Application) bool {
	s := app.Status.SourceHydrator
	return s == nil || s.CurrentOperation == nil || s.CurrentOperation.Phase == "Hydrated"
}

// final prints the Application as it is when the wait is over.
func (v *verbs) final(ctx context.Context, c *client.Client, app *v1alpha1.Application, w waiting, pick func(key) bool) error {
	out := v.d.Console.Out
	if w.output == "json" || w.output == "yaml" {
		return output.Object(out, w.output, app)
	}
	v.d.Console.Printf("\n")
	if err := printSummary(out, app, appURL(ctx, c, app), nil); err != nil {
		return err
	}
	v.d.Console.Printf("\n")
	if err := printConditions(out, app); err != nil {
		return err
	}
	if w.operation && app.Status.OperationState != nil {
		if err := printOperation(out, app.Status.OperationState, v.d.Console.Clock.Now()); err != nil {
			return err
		}
		v.d.Console.Printf("\n")
	}
	return v.showObjects(ctx, c, app, w.output, pick)
}

// after says by the clock that live state was compared after an operation.
func after(app *v1alpha1.Application, op *v1alpha1.OperationState) bool {
	return app.Status.ReconciledAt != nil && app.Status.ReconciledAt.After(op.FinishedAt.Time)
}
