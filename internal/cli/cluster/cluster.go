// Package cluster is the group of commands about target clusters (spec/cli.md
// §4).
//
//   - cluster.go: list, get, set, rm, rotate-auth
//   - add.go: what a kubeconfig context says ─► rights on the target ─► registration
//     flags.go: what it takes
//   - rights.go: what a service account may do; install.go, remove.go, object.go: how that is
//     written on a target, and taken away; kube.go: kubeconfigs
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

type verbs struct{ d *connect.Dialer }

// Command is the group.
func Command(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("cluster", "Manage target clusters", v.add(), listing.Verb(d, "List clusters"), v.get(), v.set(), v.remove(), v.rotate())
}

// listing lists clusters; completion offers names, scripts get addresses.
var listing = command.Listing[client.Cluster]{
	All:  func(ctx context.Context, c *client.Client) ([]client.Cluster, error) { return c.Clusters(ctx) },
	Name: func(c *client.Cluster) string { return c.Server }, Word: "server", Table: clusterTable,
}

func (v *verbs) names() cobra.CompletionFunc {
	byName := listing
	byName.Name = func(c *client.Cluster) string { return cmp.Or(c.Name, c.Server) }
	return byName.Names(v.d)
}

// stateOf is how well a cluster is reached, and why not.
func stateOf(c *client.Cluster) (version, status, message string) {
	if c.Info != nil {
		version, status, message = c.Info.ServerVersion, c.Info.ConnectionState.Status, c.Info.ConnectionState.Message
	}
	if c.ConnectionState != nil && status == "" {
		status, message = c.ConnectionState.Status, c.ConnectionState.Message
	}
	return cmp.Or(version, c.ServerVersion), status, message
}

func clusterTable(all []client.Cluster) [][]string {
	table := [][]string{{"SERVER", "NAME", "VERSION", "STATUS", "MESSAGE", "PROJECT"}}
	for i := range all {
		c := &all[i]
		server := c.Server
		if len(c.Namespaces) > 0 {
			server = fmt.Sprintf("%s (%d namespaces)", c.Server, len(c.Namespaces))
		}
		version, status, message := stateOf(c)
		table = append(table, []string{server, c.Name, version, status, message, c.Project})
	}
	return table
}

func (v *verbs) get() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "get SERVER/NAME...", Short: "Show clusters", Args: command.Args(1, -1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&format, "output", "o", "yaml", "yaml, json, wide or server")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		var all []client.Cluster
		for _, a := range args {
			one, err := api.Cluster(cmd.Context(), a)
			if err != nil {
				return err
			}
			all = append(all, *one)
		}
		switch format {
		case "server":
			for i := range all {
				v.d.Console.Printf("%s\n", all[i].Server)
			}
			return nil
		case "wide":
			for i := range all {
				v.details(&all[i])
			}
			return nil
		}
		if len(all) == 1 {
			return output.Object(v.d.Console.Out, format, all[0])
		}
		return output.List(v.d.Console.Out, format, all)
	}
	return c
}

// details prints a cluster in sections.
func (v *verbs) details(c *client.Cluster) {
	version, _, _ := stateOf(c)
	namespaces := "all namespaces"
	if len(c.Namespaces) > 0 {
		namespaces = strings.Join(c.Namespaces, ",")
	}
	yes := strconv.FormatBool
	a := &c.Config
	lines := [][2]string{
		{"Cluster information", ""},
		{"  Server URL:", c.Server}, {"  Server Name:", cmp.Or(c.Name, "-")}, {"  Server Version:", version}, {"  Namespaces:", namespaces},
		{"TLS configuration", ""},
		{"  Client cert:", yes(len(a.TLSClientConfig.CertData) > 0)}, {"  Cert validation:", yes(!a.TLSClientConfig.Insecure)},
		{"Authentication", ""},
		{"  Basic authentication:", yes(a.Username != "")}, {"  oAuth authentication:", yes(a.BearerToken != "")}, {"  AWS authentication:", yes(a.AWSAuthConfig != nil)},
		{"Disable compression:", yes(a.DisableCompression)}, {"Use proxy:", yes(a.ProxyURL != "")},
	}
	for _, l := range lines {
		if l[1] == "" && !strings.HasPrefix(l[0], "  ") {
			v.d.Console.Printf("%s\n", l[0])
			continue
		}
		v.d.Console.Printf("%-24s%s\n", l[0], output.Clean(l[1]))
	}
	v.d.Console.Printf("\n")
}

func (v *verbs) set() *cobra.Command {
	var name string
	var namespaces, labels, annotations []string
	c := &cobra.Command{Use: "set NAME", Short: "Change name, namespaces, labels or annotations of a cluster", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVar(&name, "name", "", "new name")
	c.Flags().StringArrayVar(&namespaces, "namespace", nil, "namespace that is managed, * is all; may be repeated")
	c.Flags().StringArrayVar(&labels, "label", nil, "label KEY=VALUE, in place of those there are; may be repeated")
	c.Flags().StringArrayVar(&annotations, "annotation", nil, "annotation KEY=VALUE, in place of those there are; may be repeated")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		one := &client.Cluster{Name: args[0]}
		var fields []string
		var err error
		if name != "" {
			one.Name, fields = name, append(fields, "name")
		}
		if len(namespaces) > 0 {
			if namespaces[0] != "*" {
				one.Namespaces = namespaces
			}
			fields = append(fields, "namespaces")
		}
		if cmd.Flags().Changed("label") {
			if one.Labels, err = command.Pairs(labels, "--label"); err != nil {
				return err
			}
			fields = append(fields, "labels")
		}
		if cmd.Flags().Changed("annotation") {
			if one.Annotations, err = command.Pairs(annotations, "--annotation"); err != nil {
				return err
			}
			fields = append(fields, "annotations")
		}
		if len(fields) == 0 {
			v.d.Console.Printf("Specify the cluster field to be updated.\n")
			return nil
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		if _, err := api.UpdateCluster(cmd.Context(), args[0], one, fields); err != nil {
			return err
		}
		v.d.Console.Printf("Cluster '%s' updated.\n", args[0])
		return nil
	}
	return c
}

func (v *verbs) remove() *cobra.Command {
	var yes bool
	k := &kubeFlags{}
	c := &cobra.Command{Use: "rm SERVER/NAME...", Short: "Forget clusters, and remove what cluster add made there", Args: command.Args(1, -1), ValidArgsFunction: v.names()}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig with a context of the same name, to remove the service account there")
	c.Flags().StringVar(&k.systemNamespace, "system-namespace", "kube-system", "namespace of the service account")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		for _, a := range args {
			if !yes && v.d.Console.OutTerminal {
				ok, err := v.d.Console.Confirm("Are you sure you want to remove '" + a + "'? Any Apps deploying to this cluster will go to health status Unknown.[y/n] ")
				if err != nil {
					return err
				}
				if !ok {
					v.d.Console.Printf("The command to remove '%s' was cancelled.\n", a)
					continue
				}
			}
			known, err := api.Cluster(cmd.Context(), a)
			if err != nil {
				return err
			}
			if err := api.DeleteCluster(cmd.Context(), a); err != nil {
				return err
			}
			v.d.Console.Printf("Cluster '%s' removed\n", a)
			if err := v.forget(cmd.Context(), k, known); err != nil {
				// It is removed; what is left on it is said, not failed with: the
				// context may have another name (spec/cli.md §7).
				v.d.Log("warn", "what cluster add made on "+a+" is still there: "+err.Error())
			}
		}
		return nil
	}
	return c
}

func (v *verbs) rotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate-auth SERVER/NAME", Short: "Give a cluster new credentials", Args: command.Args(1, 1), ValidArgsFunction: v.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			if err := api.RotateAuth(cmd.Context(), args[0]); err != nil {
				return err
			}
			v.d.Console.Printf("Cluster '%s' rotated auth\n", args[0])
			return nil
		},
	}
}

// chooseContext lists the contexts of a kubeconfig.
func (v *verbs) chooseContext(rows [][]string) error {
	_, _ = fmt.Fprintln(v.d.Console.Err, "Choose a context name from:")
	if err := output.Table(v.d.Console.Err, append([][]string{{"CURRENT", "NAME", "CLUSTER", "SERVER"}}, rows...)); err != nil {
		return err
	}
	return fail.Silent(fail.Failure)
}
