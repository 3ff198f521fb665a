// Command sluice delivers what Git says to a fleet of Kubernetes clusters.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/cli"
	"github.com/sluice-cd/sluice/internal/cli/console"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == worker.Command {
		os.Exit(renderWorker(ctx, os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == gitrepo.TunnelCommand {
		if err := gitrepo.Tunnel(ctx, os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "sluice:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(plugin.BinaryName) == plugin.AskPassBinary {
		os.Exit(askPass(ctx, os.Args[1:]))
	}
	name, program := cli.Called(os.Args, os.Getenv(plugin.BinaryName))
	args := os.Args[1:]
	if program != "" {
		name, args = "sluice", append([]string{program}, args...)
	}
	line := cli.New(console.System(name, console.BuildOf(version)), cli.Parts{
		InProcess: inProcess, Forward: portForward, Dashboard: dashboard, Rehearse: rehearse,
		Others: others(),
	})
	os.Exit(line.Run(ctx, args))
}

// others are the commands of this program that are no part of the command line.
func others() []*cobra.Command {
	return []*cobra.Command{
		allCommand(), controllerCommand(), setsCommand(), serverCommand(), dexConfigCommand(), repoServerCommand(), pluginServerCommand(),
		installCommand(), luaWorkerCommand(), k8sAuthCommand(),
	}
}

// renderWorker is the hidden command that the parent starts for renders.
func renderWorker(ctx context.Context, memory string) int {
	limit, err := strconv.ParseInt(memory, 10, 64)
	if err == nil {
		err = worker.Serve(ctx, os.Stdin, os.Stdout, limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		return 1
	}
	return 0
}
