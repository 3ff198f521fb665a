package appset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/live"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

func (v *verbs) rollout() *cobra.Command {
	g := command.Group("rollout", "Look at rollouts and steer them", v.status(), v.plan(), v.history())
	for _, s := range []struct {
		verb  rollout.Verb
		short string
	}{
		{rollout.VerbPause, "Let running syncs finish and pick up nothing more"},
		{rollout.VerbResume, "Take a pause away"},
		{rollout.VerbPromote, "Approve the step that waits, or the one named"},
		{rollout.VerbRetry, "Clear failures and try failed Applications again"},
		{rollout.VerbAbort, "Sync nothing more until the target changes"},
		{rollout.VerbRollback, "Return what the rollout has synced to what it ran before"},
	} {
		g.AddCommand(v.steer(s.verb, s.short))
	}
	return g
}

func namespaceFlag(c *cobra.Command, into *string) {
	c.Flags().StringVarP(into, "appset-namespace", "N", "", "namespace of the ApplicationSet")
}

func (v *verbs) status() *cobra.Command {
	var namespace, format string
	var watch, exit bool
	var timeout time.Duration
	c := &cobra.Command{Use: "status APPSETNAME", Short: "Say what a rollout does or waits for", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	namespaceFlag(c, &namespace)
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on until the rollout is complete or stands still for a person")
	c.Flags().BoolVar(&exit, "exit-code", false, "end with 1 when the rollout is not complete")
	c.Flags().DurationVar(&timeout, "timeout", 0, "time to watch; 0 is for ever")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ns, name := command.Name(args[0], namespace)
		view, err := api.Rollout(cmd.Context(), ns, name)
		if err != nil {
			return err
		}
		if watch {
			ctx := cmd.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
				defer cancel()
			}
			view, err = v.watch(ctx, api, watched{ns, name, format}, view)
			if err != nil {
				return err
			}
		}
		if err := v.printView(view, format, watch); err != nil {
			return err
		}
		if exit && view.Phase != rollout.PhaseCompleted {
			return fail.Silent(fail.Failure)
		}
		return nil
	}
	return c
}

// errTimeout is the cause of a context that ends a watch.
var errTimeout = errors.New("timed out")

func (v *verbs) printView(view *rollout.View, format string, watched bool) error {
	switch format {
	case "wide", "":
		if watched && !v.d.Console.OutTerminal {
			return nil // every change was written as it came
		}
		v.printLines(v.lines(view))
		return nil
	}
	return output.Object(v.d.Console.Out, format, view)
}

// printLines prints lines; colours are for terminals only.
func (v *verbs) printLines(lines []string) {
	for _, l := range lines {
		v.d.Console.Printf("%s\n", l)
	}
}

// watched is what a watch is about.
type watched struct{ namespace, name, format string }

// watch shows a rollout until it is complete or only a person can go on.
func (v *verbs) watch(ctx context.Context, api *client.Client, w watched, view *rollout.View) (*rollout.View, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	go func() {
		// A watch that is refused leaves the ticker.
		_ = api.WatchSets(inner, client.SetQuery{Name: w.name, Namespace: w.namespace}, func(*client.SetEvent) error {
			select {
			case changed <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	again := v.d.Console.Clock.NewTicker(5 * time.Second)
	defer again.Stop()
	show := v.shower(w.format)
	for {
		show.see(view)
		if settled(view) {
			show.done()
			return view, nil
		}
		select {
		case <-ctx.Done():
			show.done()
			if errors.Is(context.Cause(ctx), errTimeout) {
				return view, fail.New(v.d.Console.Name+" appset rollout status "+w.name, "the rollout of %s has not ended in time: %s", w.name, view.Summary)
			}
			return view, context.Cause(ctx)
		case <-changed:
		case <-again.C():
		}
		fresh, err := api.Rollout(ctx, w.namespace, w.name)
		switch {
		case err == nil:
			view = fresh
		case client.CodeOf(err) == client.NotFound, client.CodeOf(err) == client.PermissionDenied, client.CodeOf(err) == client.Unauthenticated:
			show.done()
			return view, err
		}
	}
}

// settled says that waiting longer shows nothing new: the rollout is complete,
// or nothing but a person moves it.
func settled(v *rollout.View) bool {
	if v.Ignored != "" {
		return true
	}
	switch v.Phase {
	case rollout.PhaseCompleted, rollout.PhaseHalted, rollout.PhaseAborted, rollout.PhaseRolledBack:
		return true
	}
	return false
}

// shower shows views as they come.
type shower interface {
	see(*rollout.View)
	done()
}

type quiet struct{}

func (quiet) see(*rollout.View) {}
func (quiet) done()             {}

// drawn draws the view in place.
type drawn struct {
	v *verbs
	p *live.Painter
}

func (d *drawn) see(view *rollout.View) { d.p.Draw(d.v.lines(view)) }
func (d *drawn) done()                  { d.p.Clear() }

// said writes a line whenever the sentence or a step changes.
type said struct {
	v    *verbs
	last string
}

func (s *said) see(view *rollout.View) {
	var steps []string
	for i := range view.Steps {
		st := &view.Steps[i]
		steps = append(steps, fmt.Sprintf("%s=%s(%d/%d)", st.Title, st.Phase, st.Healthy, st.Total))
	}
	line := fmt.Sprintf("%s  %s", cmp.Or(view.Phase, view.Ignored), output.Clean(view.Summary))
	if len(steps) > 0 {
		line += "  [" + strings.Join(steps, " ") + "]"
	}
	if line == s.last {
		return
	}
	s.last = line
	s.v.d.Console.Printf("%s  %s\n", s.v.d.Console.Clock.Now().Local().Format(time.RFC3339), line)
}

func (s *said) done() {}

func (v *verbs) shower(format string) shower {
	c := v.d.Console
	switch {
	case format == "json" || format == "yaml":
		return quiet{}
	case c.OutTerminal && c.Getenv("TERM") != "dumb":
		return &drawn{v, live.New(c.Out, c.Size)}
	}
	return &said{v: v}
}

func (v *verbs) plan() *cobra.Command {
	var namespace, format, file string
	c := &cobra.Command{Use: "plan [APPSETNAME]", Short: "Say what a rollout would do if it began now, of a saved set or of a file", Args: command.Args(0, 1), ValidArgsFunction: v.names()}
	namespaceFlag(c, &namespace)
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.Flags().StringVarP(&file, "file", "f", "", "file or URL with an ApplicationSet that need not be saved")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 0) == (file == "") {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		var plan *rollout.Plan
		if file != "" {
			sets, err := v.read(cmd.Context(), file, namespace)
			if err != nil {
				return err
			}
			if len(sets) != 1 {
				return fmt.Errorf("%s holds %d ApplicationSets: it must be exactly one", file, len(sets))
			}
			if plan, err = api.RolloutPlanOf(cmd.Context(), &sets[0]); err != nil {
				return err
			}
		} else {
			ns, name := command.Name(args[0], namespace)
			if plan, err = api.RolloutPlan(cmd.Context(), ns, name); err != nil {
				return err
			}
		}
		if format != "wide" && format != "" {
			return output.Object(v.d.Console.Out, format, plan)
		}
		return v.printPlan(plan)
	}
	return c
}

func (v *verbs) history() *cobra.Command {
	var namespace, format string
	c := &cobra.Command{Use: "history APPSETNAME", Short: "List the rollouts that have ended", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	namespaceFlag(c, &namespace)
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ns, name := command.Name(args[0], namespace)
		view, err := api.Rollout(cmd.Context(), ns, name)
		if err != nil {
			return err
		}
		if format != "wide" && format != "" {
			return output.List(v.d.Console.Out, format, view.History)
		}
		table := [][]string{{"ID", "RESULT", "STARTED", "COMPLETED", "TARGET"}}
		for i := range view.History {
			h := &view.History[i]
			started, completed := "", ""
			if h.StartedAt != nil {
				started = h.StartedAt.UTC().Format(time.RFC3339)
			}
			if h.CompletedAt != nil {
				completed = h.CompletedAt.UTC().Format(time.RFC3339)
			}
			table = append(table, []string{fmt.Sprint(h.ID), h.Result, started, completed, target(h.Sources)})
		}
		return output.Table(v.d.Console.Out, table)
	}
	return c
}

// steer makes the command for a verb. The number of the rollout that the user
// means is the current one unless he says it: a request that is meant for one
// rollout must not hit the next.
func (v *verbs) steer(verb rollout.Verb, short string) *cobra.Command {
	var namespace, reason string
	var id int64
	use, most := string(verb)+" APPSETNAME", 1
	if verb == rollout.VerbPromote {
		use, most = use+" [STEP]", 2
	}
	c := &cobra.Command{Use: use, Short: short, Args: command.Args(1, most), ValidArgsFunction: v.names()}
	namespaceFlag(c, &namespace)
	numbered := verb != rollout.VerbPause && verb != rollout.VerbResume
	if numbered {
		c.Flags().Int64Var(&id, "rollout", 0, "number of the rollout that is meant; default: the current one")
	}
	if verb == rollout.VerbPause {
		c.Flags().StringVar(&reason, "reason", "", "why, shown to everybody")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ns, name := command.Name(args[0], namespace)
		ask := rollout.Ask{Verb: verb, Rollout: id, Reason: reason}
		if len(args) == 2 {
			ask.Step = args[1]
		}
		if numbered && id == 0 {
			view, err := api.Rollout(cmd.Context(), ns, name)
			if err != nil {
				return err
			}
			ask.Rollout = view.ID
		}
		note, err := api.Steer(cmd.Context(), ns, name, ask)
		if err != nil {
			return err
		}
		v.d.Console.Printf("applicationset '%s': %s asked for%s\n", name, verb, rolloutOf(ask.Rollout))
		if note != "" {
			v.d.Console.Warnf("Note: %s", output.Clean(note))
		}
		return nil
	}
	return c
}

func rolloutOf(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf(", rollout %d", id)
}
