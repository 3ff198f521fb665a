package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/admin/backup"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// reconciliation is what is said of one Application, in the form that Argo CD
// writes: files of both can be compared.
type reconciliation struct {
	// Name carries the namespace when that is not the control plane's.
	Name       string                          `json:"name"`
	Health     v1alpha1.AppHealthStatus        `json:"health"`
	Sync       v1alpha1.SyncStatus             `json:"sync"`
	Conditions []v1alpha1.ApplicationCondition `json:"conditions,omitempty"`
}

// reconciliations are those of a hub, sorted by name.
type reconciliations struct {
	Applications []reconciliation `json:"applications"`
}

// plain leaves out what differs between two looks at the same: times, and the
// notes of this controller for itself.
func (r *reconciliation) plain() {
	r.Health.LastTransitionTime = nil
	r.Sync.AfterOperation, r.Sync.Digest = "", ""
	for i := range r.Conditions {
		r.Conditions[i].LastTransitionTime = nil
	}
	slices.SortStableFunc(r.Conditions, func(a, b v1alpha1.ApplicationCondition) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Message, b.Message))
	})
}

// results are what is said of Applications whose statuses are given.
func results(apps []v1alpha1.Application, statuses []v1alpha1.ApplicationStatus, namespace string) reconciliations {
	all := reconciliations{Applications: []reconciliation{}}
	for i := range apps {
		r := reconciliation{Name: apps[i].Name, Health: statuses[i].Health, Sync: statuses[i].Sync, Conditions: slices.Clone(statuses[i].Conditions)}
		if apps[i].Namespace != namespace {
			r.Name = apps[i].Namespace + "/" + apps[i].Name
		}
		r.plain()
		all.Applications = append(all.Applications, r)
	}
	slices.SortFunc(all.Applications, func(a, b reconciliation) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// rehearsalFlags are those of get-reconcile-results.
type rehearsalFlags struct {
	namespaceFlags
	refresh          bool
	selector, format string
}

func (v *verbs) reconcileResults() *cobra.Command {
	f := &rehearsalFlags{}
	c := &cobra.Command{
		Use: "get-reconcile-results PATH", Short: "Write sync, health and conditions of every Application to a file, - is the output", Args: command.Args(1, 1),
		Long: "Write sync, health and conditions of every Application to a file, - is the output.\n\n" +
			"Without --refresh it is what is stored. With it, this program compares every Application by itself, as its own controller would, and writes nothing to a cluster: " +
			"run it with the next release, and compare the files with diff-reconcile-results.",
	}
	fs := c.Flags()
	fs.BoolVar(&f.refresh, "refresh", false, "compare in this process instead of reading what is stored")
	fs.StringVarP(&f.selector, "selector", "l", "", "only Applications with these labels")
	fs.StringVarP(&f.format, "output", "o", "yaml", "yaml or json")
	fs.StringVar(&f.selector, "l", "", "old name of --selector")
	fs.StringVar(&f.format, "o", "yaml", "old name of --output")
	fs.String("repo-server", "", "accepted: this program renders by itself")
	fs.Bool("server-side-diff", false, "accepted: an Application says how it is compared")
	fs.Bool("persist-resource-health", true, "accepted: results name no objects")
	fs.Duration("ignore-normalizer-jq-execution-timeout", 0, "accepted: expressions are bounded anyway")
	for _, name := range []string{"l", "o"} {
		fs.Lookup(name).Hidden = true
	}
	f.register(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if f.format != "yaml" && f.format != "json" {
			return output.Unknown(f.format)
		}
		all, err := v.reconciliations(cmd.Context(), f)
		if err != nil {
			return err
		}
		write := func(w io.Writer) error { return output.Object(w, f.format, all) }
		if args[0] == "-" {
			return write(v.Dialer.Console.Out)
		}
		return console.Replace(args[0], 0o600, write)
	}
	return c
}

// reconciliations reads what is stored, or compares by itself.
func (v *verbs) reconciliations(ctx context.Context, f *rehearsalFlags) (reconciliations, error) {
	selector, err := labels.Parse(f.selector)
	if err != nil {
		return reconciliations{}, fail.New("write it like app=shop,env!=test", "--selector %q is no label selector: %w", f.selector, err)
	}
	h, err := v.connect()
	if err != nil {
		return reconciliations{}, err
	}
	s, err := h.scope(ctx, f.namespaceFlags)
	if err != nil {
		return reconciliations{}, err
	}
	var list v1alpha1.ApplicationList
	if err := h.client.List(ctx, &list, client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return reconciliations{}, fmt.Errorf("list Applications: %w", err)
	}
	apps := slices.DeleteFunc(list.Items, func(a v1alpha1.Application) bool { return !s.Holds(backup.Application, a.Namespace) })
	if !f.refresh {
		stored := make([]v1alpha1.ApplicationStatus, len(apps))
		for i := range apps {
			stored[i] = apps[i].Status
		}
		return results(apps, stored, h.namespace), nil
	}
	if v.Rehearse == nil {
		return reconciliations{}, fail.Fatal("this program was built without what compares: leave --refresh out, or use the program of a release")
	}
	now, err := v.Rehearse(ctx, apps)
	if err != nil {
		return reconciliations{}, err
	}
	return results(apps, now, h.namespace), nil
}

func (v *verbs) diffReconcileResults() *cobra.Command {
	var exit bool
	c := &cobra.Command{Use: "diff-reconcile-results PATH1 PATH2", Short: "Compare two files of get-reconcile-results", Args: command.Args(2, 2)}
	c.Flags().BoolVar(&exit, "exit-code", false, "end with 1 when there is a difference")
	c.RunE = func(_ *cobra.Command, args []string) error {
		var sides [2]map[string]string
		for i, name := range args {
			var err error
			if sides[i], err = v.resultsOf(name); err != nil {
				return err
			}
		}
		names := slices.Collect(maps.Keys(sides[0]))
		names = slices.AppendSeq(names, maps.Keys(sides[1]))
		slices.Sort(names)
		differs := false
		for _, name := range slices.Compact(names) {
			if text := output.Normal(sides[0][name], sides[1][name]); text != "" {
				v.Dialer.Console.Printf("===== %s ======\n%s", output.Clean(name), text)
				differs = true
			}
		}
		if differs && exit {
			return fail.Silent(fail.Failure)
		}
		return nil
	}
	return c
}

// resultsOf reads a file of results, by the names of the Applications.
func (v *verbs) resultsOf(name string) (map[string]string, error) {
	raw, err := v.Dialer.Console.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var all reconciliations
	if err := yaml.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if all.Applications == nil {
		return nil, fail.New("name a file that get-reconcile-results wrote", "%s holds no list applications", name)
	}
	out := map[string]string{}
	for i := range all.Applications {
		r := &all.Applications[i]
		if _, twice := out[r.Name]; twice || r.Name == "" {
			return nil, fail.New("name a file that get-reconcile-results wrote", "%s: applications[%d].name %q is empty or there twice", name, i, r.Name)
		}
		r.plain()
		text, err := yaml.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[r.Name] = string(text)
	}
	return out, nil
}
