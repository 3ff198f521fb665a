// Command sluice delivers what Git says to a fleet of Kubernetes clusters.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == worker.Command {
		os.Exit(renderWorker(ctx, os.Args[2]))
	}
	if os.Getenv(plugin.BinaryName) == plugin.AskPassBinary {
		os.Exit(askPass(ctx, os.Args[1:]))
	}
	root := &cobra.Command{
		Use: "sluice", Short: "GitOps delivery for Kubernetes fleets: a change reaches the fleet step by step",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(allCommand(), setsCommand(), serverCommand(), repoServerCommand(), pluginServerCommand(), installCommand(), luaWorkerCommand(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "sluice", version) },
	})
	if filepath.Base(os.Args[0]) == "argocd-cmp-server" { // sidecars start a link of this name
		root.SetArgs(append([]string{"cmp-server"}, os.Args[1:]...))
	}
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
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
