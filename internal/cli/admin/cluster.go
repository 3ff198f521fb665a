package admin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// figures are what is known of a cluster.
type figures struct {
	Server     string `json:"server"`
	Name       string `json:"name,omitempty"`
	Shard      string `json:"shard"`
	Namespaces int    `json:"namespaces"`
	Apps       int    `json:"applications"`
	Resources  int    `json:"resources"`
}

func (v *verbs) clusterStats() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "stats", Short: "Count Applications and objects by cluster", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	var shard, replicas int
	var method string
	var forward bool
	c.Flags().IntVar(&shard, "shard", -1, "accepted: clusters go to controllers by Lease")
	c.Flags().IntVar(&replicas, "replicas", 0, "accepted: clusters go to controllers by Lease")
	c.Flags().StringVar(&method, "sharding-method", "", "accepted: clusters go to controllers by Lease")
	c.Flags().BoolVar(&forward, "port-forward-redis", true, "accepted: no Redis is needed")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		h, err := v.connect()
		if err != nil {
			return err
		}
		all, err := h.figures(cmd.Context())
		if err != nil {
			return err
		}
		if format != "wide" && format != "" {
			return output.List(v.Dialer.Console.Out, format, all)
		}
		table := [][]string{{"SERVER", "SHARD", "CONNECTION", "NAMESPACES COUNT", "APPS COUNT", "RESOURCES COUNT"}}
		for _, f := range all {
			table = append(table, []string{f.Server, f.Shard, "", strconv.Itoa(f.Namespaces), strconv.Itoa(f.Apps), strconv.Itoa(f.Resources)})
		}
		return output.Table(v.Dialer.Console.Out, table)
	}
	return c
}

// inCluster is the cluster that the hub itself is.
const inCluster = "https://kubernetes.default.svc"

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
	out := []figures{{Server: inCluster, Name: "in-cluster", Shard: "-"}}
	for i := range known.Items {
		s := &known.Items[i]
		server := string(s.Data["server"])
		if server == inCluster {
			out[0].Name = string(s.Data["name"])
			continue
		}
		shard := string(s.Data["shard"])
		if shard == "" {
			shard = "-"
		}
		out = append(out, figures{Server: server, Name: string(s.Data["name"]), Shard: shard})
	}
	for i := range out {
		f := &out[i]
		namespaces := map[string]bool{}
		for j := range list.Items {
			a := &list.Items[j]
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
		f.Namespaces = len(namespaces)
	}
	return out, nil
}
