package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/cli/registration"
	"github.com/sluice-cd/sluice/internal/domain/destination"
)

func (v *verbs) clusters() *cobra.Command {
	return command.Group("cluster", "Figures about clusters, and their registrations",
		v.clusterStats(), v.shards(), v.clusterNamespaces(), v.namespacedMode(true), v.namespacedMode(false), v.kubeconfig(), v.clusterSpec())
}

// figures are what is known of a cluster.
type figures struct {
	Server     string   `json:"server"`
	Name       string   `json:"name,omitempty"`
	Shard      string   `json:"shard"`
	Namespaces []string `json:"namespaces"`
	Apps       int      `json:"applications"`
	Resources  int      `json:"resources"`

	// secret declares the cluster; nil for a hub that nothing declares.
	secret *corev1.Secret
}

// noShard is that of a cluster which controllers are free to choose.
const noShard = "-"

// sharding are flags of the reference, whose controllers divide clusters by
// arithmetic.
type sharding struct {
	shard, replicas int
	method          string
	forward         bool
}

func (s *sharding) register(c *cobra.Command) {
	c.Flags().IntVar(&s.shard, "shard", -1, "only clusters of this shard; negative is all")
	c.Flags().IntVar(&s.replicas, "replicas", 0, "accepted: whoever holds the Lease works on every cluster")
	c.Flags().StringVar(&s.method, "sharding-method", "", "accepted: whoever holds the Lease works on every cluster")
	c.Flags().BoolVar(&s.forward, "port-forward-redis", true, "accepted: no Redis is needed")
}

// figuresOf reads the figures that the flags ask for.
func (v *verbs) figuresOf(ctx context.Context, s *sharding) ([]figures, error) {
	h, err := v.connect()
	if err != nil {
		return nil, err
	}
	all, err := h.figures(ctx)
	if s.shard >= 0 {
		all = slices.DeleteFunc(all, func(f figures) bool { return f.Shard != strconv.Itoa(s.shard) })
	}
	return all, err
}

func (v *verbs) clusterStats() *cobra.Command {
	var format string
	s := &sharding{}
	c := &cobra.Command{Use: "stats", Short: "Count Applications and objects by cluster", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	s.register(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := v.figuresOf(cmd.Context(), s)
		if err != nil {
			return err
		}
		if format != "wide" && format != "" {
			return output.List(v.Dialer.Console.Out, format, all)
		}
		// How well a cluster is reached is known to its controller alone.
		table := [][]string{{"SERVER", "SHARD", "CONNECTION", "NAMESPACES COUNT", "APPS COUNT", "RESOURCES COUNT"}}
		for i := range all {
			f := &all[i]
			table = append(table, []string{f.Server, f.Shard, "Unknown", strconv.Itoa(len(f.Namespaces)), strconv.Itoa(f.Apps), strconv.Itoa(f.Resources)})
		}
		return output.Table(v.Dialer.Console.Out, table)
	}
	return c
}

func (v *verbs) shards() *cobra.Command {
	var format string
	s := &sharding{}
	c := &cobra.Command{Use: "shards", Short: "Count objects by shard", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	s.register(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := v.figuresOf(cmd.Context(), s)
		if err != nil {
			return err
		}
		loads, total := shards(all)
		return output.Listed(v.Dialer.Console.Out, format, loads, func() [][]string { return shardTable(loads, total) })
	}
	return c
}

// load is what the clusters of a shard hold.
type load struct {
	Shard     string `json:"shard"`
	Resources int    `json:"resources"`
}

// shards adds up objects by shard, numbers first, and all of them.
func shards(all []figures) (out []load, total int) {
	counts := map[string]int{}
	for i := range all {
		counts[all[i].Shard] += all[i].Resources
		total += all[i].Resources
	}
	for _, shard := range slices.SortedFunc(maps.Keys(counts), byNumber) {
		out = append(out, load{shard, counts[shard]})
	}
	return out, total
}

// shardTable has a row for each shard, with its part of all objects.
func shardTable(all []load, total int) [][]string {
	table := [][]string{{"SHARD", "RESOURCES COUNT"}}
	for _, l := range all {
		percent := 0.0
		if total > 0 {
			percent = 100 * float64(l.Resources) / float64(total)
		}
		table = append(table, []string{l.Shard, fmt.Sprintf("%d (%.0f%%)", l.Resources, percent)})
	}
	return table
}

// byNumber sorts shards: numbers first.
func byNumber(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return strings.Compare(a, b)
}

func (v *verbs) clusterNamespaces() *cobra.Command {
	var format string
	s := &sharding{}
	c := &cobra.Command{Use: "namespaces", Short: "List the namespaces that Applications use, by cluster", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	s.register(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := v.figuresOf(cmd.Context(), s)
		if err != nil {
			return err
		}
		return output.Listed(v.Dialer.Console.Out, format, all, func() [][]string {
			table := [][]string{{"CLUSTER", "NAMESPACES"}}
			for i := range all {
				table = append(table, []string{all[i].Server, strings.Join(all[i].Namespaces, ",")})
			}
			return table
		})
	}
	return c
}

// figures counts from what is stored on the hub.
func (h *hub) figures(ctx context.Context) ([]figures, error) {
	var known corev1.SecretList
	if err := h.client.List(ctx, &known, client.InNamespace(h.namespace), client.MatchingLabels{v1alpha1.LabelSecretType: "cluster"}); err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var list v1alpha1.ApplicationList
	if err := h.client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list Applications: %w", err)
	}
	return counted(known.Items, list.Items), nil
}

// counted counts Applications and what they consist of by cluster; the hub is the
// first.
func counted(known []corev1.Secret, list []v1alpha1.Application) []figures {
	out := []figures{{Server: destination.InClusterServer, Name: destination.InClusterName, Shard: noShard}}
	for i := range known {
		c, err := registration.ClusterOf(&known[i])
		if c.Server == "" && err != nil {
			continue // it declares nothing
		}
		f := figures{Server: c.Server, Name: c.Name, Shard: cmp.Or(c.Shard, noShard), secret: &known[i]}
		if c.Server == destination.InClusterServer {
			out[0] = f
			continue
		}
		out = append(out, f)
	}
	for i := range out {
		out[i].count(list)
	}
	return out
}

func (f *figures) count(list []v1alpha1.Application) {
	namespaces := map[string]bool{}
	for i := range list {
		a := &list[i]
		if d := a.Spec.Destination; d.Server != f.Server && (d.Server != "" || d.Name != f.Name) {
			continue
		}
		f.Apps++
		f.Resources += len(a.Status.Resources)
		for k := range a.Status.Resources {
			if ns := a.Status.Resources[k].Namespace; ns != "" {
				namespaces[ns] = true
			}
		}
	}
	f.Namespaces = slices.AppendSeq([]string{}, maps.Keys(namespaces))
	slices.Sort(f.Namespaces)
}
