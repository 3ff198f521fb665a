package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/connect"
)

// Engine is the name of the program that has what the command line alone lacks:
// the servers, core mode, port-forwards. Its libraries are so many that their
// start costs more memory than the whole command line; so it is a program of its
// own, which stands beside.
const Engine = "sluice-engine"

// EngineCommands are the commands that only the engine has, as it has them
// itself; run goes on as the engine.
func EngineCommands(run func() error) []*cobra.Command {
	commands := []*cobra.Command{
		{Use: "all", Short: "Run every controller in one process"},
		{Use: "application-controller", Aliases: []string{"controller", "argocd-application-controller"}, Short: "Run the controller of Applications alone"},
		{Use: "applicationset-controller", Short: "Run the controllers of ApplicationSets alone"},
		{Use: "server", Aliases: []string{"argocd-server"}, Short: "Serve the API"},
		{Use: "gendexcfg", Short: "Write the configuration of the Dex that runs beside the server"},
		{Use: "repo-server", Short: "Render for the other components"},
		{Use: "cmp-server", Aliases: []string{"argocd-cmp-server"}, Short: "Serve a config-management plugin in its sidecar"},
		{Use: "install", Short: "Install what Sluice needs on the hub"},
		{Use: "k8s-auth", Short: "Print a token for the Kubernetes of a cloud, as clients of Kubernetes want it"},
		{Use: "lua-worker", Short: "Run Lua scripts and jq expressions from a pipe", Hidden: true},
	}
	for _, c := range commands {
		c.DisableFlagParsing = true // the engine knows them
		c.RunE = func(*cobra.Command, []string) error { return run() }
		c.SetHelpFunc(func(c *cobra.Command, _ []string) {
			if err := run(); err != nil {
				c.PrintErrln(err)
			}
		})
	}
	return commands
}

// programs are commands of the engine by the names under which manifests of
// Argo CD start them (spec/cli.md, and spec/config.md on images).
var programs = map[string]string{
	"argocd-server": "server", "argocd-application-controller": "application-controller", "argocd-applicationset-controller": "applicationset-controller",
	"argocd-repo-server": "repo-server", "argocd-cmp-server": "cmp-server", "argocd-k8s-auth": "k8s-auth",
}

// Called says as what a program was called: the name of the command line, sluice
// or argocd, and the command of the engine that it was called as, empty for none.
// binary, the value of ARGOCD_BINARY_NAME, wins over the name of the file, but
// not over a command of the engine that is the first argument: children of a
// program inherit the variable. Names that are not known are the command line.
func Called(args []string, binary string) (name, program string) {
	name = filepath.Base(args[0])
	program = programs[name]
	if binary == "argocd" || programs[binary] != "" {
		name, program = binary, programs[binary]
		if len(args) > 1 && slices.ContainsFunc(EngineCommands(nil), func(c *cobra.Command) bool { return c.Name() == args[1] || c.HasAlias(args[1]) }) {
			program = ""
		}
	}
	if name != "argocd" {
		name = "sluice"
	}
	return name, program
}

// handedOver are the parts of a program that leaves them to the engine.
func handedOver(run func() error) Parts {
	return Parts{
		InProcess: func(context.Context, *connect.Flags) (*connect.Tunnel, error) { return nil, run() },
		Forward:   func(context.Context, *connect.Flags) (*connect.Tunnel, error) { return nil, run() },
		Dashboard: func(context.Context, *connect.Flags, string, func(string)) error { return run() },
		Rehearse: func(context.Context, *connect.Flags, []v1alpha1.Application) ([]v1alpha1.ApplicationStatus, error) {
			return nil, run()
		},
		Others:   EngineCommands(run),
		HandOver: run,
	}
}

// asks says that a command asks a server in any case, and not only perhaps.
func asks(cmd *cobra.Command) bool {
	for cmd.HasParent() && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	switch cmd.Name() {
	case "version", "completion", "context", "configure", "login", "logout", "relogin", "admin":
		return false
	}
	return true
}

// NoEngine is the error of a program that stands alone.
func NoEngine(path string, err error) error {
	return fmt.Errorf("%s: %w: put %s of the same release beside this program", path, err, Engine)
}
