package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/live"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Finding is one reason why an Application is not where it should be.
type Finding struct {
	// Cause in one sentence.
	Cause string `json:"cause"`
	// Proof are objects, conditions and events that show it.
	Proof []string `json:"proof,omitempty"`
	// Next is what a person can do.
	Next []string `json:"next,omitempty"`
}

// Explanation is the answer of app explain.
type Explanation struct {
	Application string    `json:"application"`
	Summary     string    `json:"summary"`
	Findings    []Finding `json:"findings"`
}

func (v *verbs) explain() *cobra.Command {
	var namespace, format string
	c := &cobra.Command{Use: "explain APPNAME", Short: "Say why an Application is not synced, not healthy or not moving", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := v.d.Client(ctx)
		if err != nil {
			return err
		}
		id := appID(args[0], namespace)
		facts, err := gather(ctx, c, id)
		if err != nil {
			return err
		}
		e := explain(facts, v.d.Console.Name, v.d.Console.Clock.Now())
		if format != "wide" && format != "" {
			return output.Object(v.d.Console.Out, format, e)
		}
		v.printExplanation(&e)
		return nil
	}
	return c
}

// facts are what an explanation is made from. What may not be read is absent.
type facts struct {
	app     *v1alpha1.Application
	windows *client.Windows
	tree    *client.Tree
	// events by the object they are about; the key "" is the Application.
	events map[key][]client.Event
}

// gather reads what an explanation needs; only the Application itself must be
// readable.
func gather(ctx context.Context, c *client.Client, id client.App) (*facts, error) {
	app, err := c.App(ctx, id, "")
	if err != nil {
		return nil, err
	}
	f := &facts{app: app, events: map[key][]client.Event{}}
	if w, err := c.SyncWindows(ctx, id); err == nil {
		f.windows = w
	}
	if t, err := c.Tree(ctx, id); err == nil {
		f.tree = t
		for _, n := range unwell(t) {
			if all, err := c.Events(ctx, id, n.ResourceRef); err == nil {
				f.events[nodeKey(n)] = warnings(all)
			}
		}
	}
	if all, err := c.Events(ctx, id, client.ResourceRef{}); err == nil {
		f.events[key{}] = warnings(all)
	}
	return f, nil
}

func nodeKey(n *client.Node) key { return key{n.Group, n.Kind, n.Namespace, n.Name} }

// most is how many objects an explanation looks into.
const most = 10

// unwell are the nodes with bad health, leaves first: what is wrong with a
// Deployment is said by its Pods.
func unwell(t *client.Tree) []*client.Node {
	var out []*client.Node
	for i := range t.Nodes {
		n := &t.Nodes[i]
		switch status, _ := healthOf(n); v1alpha1.HealthStatusCode(status) {
		case v1alpha1.HealthDegraded, v1alpha1.HealthProgressing, v1alpha1.HealthMissing, v1alpha1.HealthUnknown:
			out = append(out, n)
		}
	}
	depth := map[string]int{}
	for _, b := range branches(t.Nodes) {
		depth[b.node.UID] = len([]rune(b.glyphs))
	}
	slices.SortStableFunc(out, func(a, b *client.Node) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(depth[b.UID], depth[a.UID]), compareKeys(nodeKey(a), nodeKey(b)))
	})
	return out[:min(len(out), most)]
}

func rank(n *client.Node) int {
	status, _ := healthOf(n)
	return slices.Index([]string{"Degraded", "Missing", "Progressing", "Unknown"}, status)
}

// warnings are the last few events that say that something is wrong.
func warnings(all []client.Event) []client.Event {
	out := slices.DeleteFunc(slices.Clone(all), func(e client.Event) bool { return e.Type != "Warning" })
	at := func(e client.Event) time.Time {
		switch {
		case e.LastTimestamp != nil:
			return e.LastTimestamp.Time
		case e.EventTime != nil:
			return e.EventTime.Time
		}
		return time.Time{}
	}
	slices.SortStableFunc(out, func(a, b client.Event) int { return at(b).Compare(at(a)) })
	return out[:min(len(out), 3)]
}

// explain finds the reasons, the first cause first.
func explain(f *facts, program string, now time.Time) Explanation {
	e := Explanation{Application: Qualified(f.app), Findings: []Finding{}}
	name := Qualified(f.app)
	for _, find := range []func(*facts, string, time.Time) []Finding{
		deletion, conditions, operation, held, windows, manualPolicy, outOfSync, healthFindings,
	} {
		e.Findings = append(e.Findings, find(f, program+" app %s "+name, now)...)
	}
	sync, health := f.app.Status.Sync.Status, f.app.Status.Health.Status
	state := fmt.Sprintf("%s is %s and %s", name, cmp.Or(sync, v1alpha1.SyncStatusUnknown), cmp.Or(health, v1alpha1.HealthUnknown))
	switch {
	case len(e.Findings) == 0 && sync == v1alpha1.SyncStatusSynced && health == v1alpha1.HealthHealthy:
		e.Summary = state + ": nothing is wrong"
	case len(e.Findings) == 0 && f.app.Status.ReconciledAt == nil:
		e.Summary = state + ": no controller has looked at it yet"
		e.Findings = append(e.Findings, Finding{Cause: "the application controller has not compared it once", Next: []string{"see whether the controller runs, and whether it watches namespace " + f.app.Namespace}})
	case len(e.Findings) == 0:
		e.Summary = state
	default:
		e.Summary = state + ": " + e.Findings[0].Cause
	}
	return e
}

func (v *verbs) printExplanation(e *Explanation) {
	terminal := v.d.Console.OutTerminal
	paint := func(colour, text string) string {
		if terminal {
			return live.Paint(colour, text)
		}
		return text
	}
	v.d.Console.Printf("%s\n", paint(live.Bold, output.Clean(e.Summary)))
	for i, f := range e.Findings {
		v.d.Console.Printf("\n%d. %s\n", i+1, output.Clean(f.Cause))
		for _, p := range f.Proof {
			v.d.Console.Printf("     %s\n", paint(live.Dim, output.Clean(p)))
		}
		for _, n := range f.Next {
			v.d.Console.Printf("   → %s\n", output.Clean(n))
		}
	}
}

// list cuts a list for people.
func list(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}
