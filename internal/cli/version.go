package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func versionCommand(d *connect.Dialer) *cobra.Command {
	var format string
	var own, short bool
	c := &cobra.Command{Use: "version", Short: "Print the versions of this program and of the server", Args: cobra.NoArgs}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, short, json or yaml")
	c.Flags().BoolVar(&own, "client", false, "ask no server")
	c.Flags().BoolVar(&short, "short", false, "print only the version numbers")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		out := versions{Client: versionOf(d.Console.Build)}
		if !own {
			api, err := d.Client(cmd.Context())
			if err != nil {
				return err
			}
			if out.Server, err = api.Version(cmd.Context()); err != nil {
				return err
			}
		}
		switch format {
		case "wide", "short", "":
			printVersion(d.Console.Out, d.Console.Name, out.Client, short || format == "short")
			if out.Server != nil {
				printVersion(d.Console.Out, "argocd-server", out.Server, short || format == "short")
			}
			return nil
		case "json", "yaml":
			if short {
				out.Client = &client.Version{Version: out.Client.Version}
				if out.Server != nil {
					out.Server = &client.Version{Version: out.Server.Version}
				}
			}
			return output.Object(d.Console.Out, format, out)
		}
		return output.Unknown(format)
	}
	return c
}

type versions struct {
	Client *client.Version `json:"client"`
	Server *client.Version `json:"server,omitempty"`
}

func versionOf(b console.Build) *client.Version {
	return &client.Version{
		Version: b.Version, BuildDate: b.BuildDate, GitCommit: b.GitCommit, GitTreeState: b.GitTreeState, GitTag: b.GitTag,
		GoVersion: b.GoVersion, Compiler: b.Compiler, Platform: b.Platform, ExtraBuildInfo: b.ExtraBuildInfo,
	}
}

func printVersion(w io.Writer, name string, v *client.Version, short bool) {
	_, _ = fmt.Fprintf(w, "%s: %s\n", name, v.Version)
	if short {
		return
	}
	for _, row := range []struct {
		label, value string
		always       bool
	}{
		{"BuildDate", v.BuildDate, true}, {"GitCommit", v.GitCommit, true}, {"GitTreeState", v.GitTreeState, true}, {"GitTag", v.GitTag, false},
		{"GoVersion", v.GoVersion, true}, {"Compiler", v.Compiler, true}, {"Platform", v.Platform, true}, {"ExtraBuildInfo", v.ExtraBuildInfo, false},
		{"Kustomize Version", v.KustomizeVersion, false}, {"Helm Version", v.HelmVersion, false},
		{"Kubectl Version", v.KubectlVersion, false}, {"Jsonnet Version", v.JsonnetVersion, false},
	} {
		// An anonymous caller learns the version alone.
		if row.value != "" || row.always && v.GoVersion != "" {
			_, _ = fmt.Fprintf(w, "  %s: %s\n", row.label, output.Clean(row.value))
		}
	}
}
