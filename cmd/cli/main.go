// Command cli is the command line, sluice or argocd: small and quick to start.
// What needs the libraries of Kubernetes, Git and renderers is in the program
// sluice-engine beside it (cmd/sluice), which it becomes when that is asked for.
package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli"
	"github.com/sluice-cd/sluice/internal/cli/console"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name, program := cli.Called(os.Args, os.Getenv("ARGOCD_BINARY_NAME"))
	args := os.Args[1:]
	if program != "" || hidden(args) {
		name = "sluice"
		args = []string{"all"} // any command of the engine: it reads its own arguments
	}
	line := cli.New(console.System(name, console.BuildOf(version)), cli.Parts{HandOver: handOver})
	os.Exit(line.Run(ctx, args))
}

// hidden says that the arguments are for the engine alone: completion of the
// flags of its commands.
func hidden(args []string) bool {
	return len(args) > 2 && (args[0] == "__complete" || args[0] == "__completeNoDesc") &&
		slices.ContainsFunc(cli.EngineCommands(nil), func(c *cobra.Command) bool { return c.Name() == args[1] || c.HasAlias(args[1]) })
}

// handOver goes on as the engine, with the same arguments, environment and
// process.
func handOver() error {
	self, err := os.Executable()
	if err != nil {
		return cli.NoEngine(cli.Engine, err)
	}
	if resolved, err := filepath.EvalSymlinks(self); err == nil {
		self = resolved
	}
	engine := filepath.Join(filepath.Dir(self), cli.Engine)
	if _, err := os.Stat(engine); err != nil { // it may be installed elsewhere
		if found, err := exec.LookPath(cli.Engine); err == nil {
			engine = found
		}
	}
	return cli.NoEngine(engine, syscall.Exec(engine, os.Args, os.Environ())) //nolint:gosec // the program of the same release
}
