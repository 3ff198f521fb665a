package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// plugin runs argocd-NAME for a command that is none of ours (spec/cli.md §1.6).
func (l *CLI) plugin(ctx context.Context, args []string) (code int, ran bool) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || strings.ContainsAny(args[0], `/\`) || args[0] == cobra.ShellCompRequestCmd ||
		args[0] == cobra.ShellCompNoDescRequestCmd || args[0] == "help" {
		return 0, false
	}
	for _, c := range l.Root.Commands() {
		if c.Name() == args[0] || c.HasAlias(args[0]) {
			return 0, false
		}
	}
	for _, prefix := range pluginPrefixes(l.Console.Name) {
		path, err := l.Console.LookPath(prefix + args[0])
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, path, args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = l.Console.In, l.Console.Out, l.Console.Err, l.Console.Env()
		err = cmd.Run()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return 0, true
		case errors.As(err, &exit) && exit.ExitCode() >= 0:
			return exit.ExitCode(), true
		}
		fail.Report(l.Console.Err, fail.Fatal("plugin %s: %w", path, err), l.Dialer.Style(l.Console), l.Console.Name, l.Console.Clock.Now())
		return fail.Failure, true
	}
	return 0, false
}

func pluginPrefixes(name string) []string {
	if name == "argocd" {
		return []string{"argocd-"}
	}
	return []string{name + "-", "argocd-"}
}

// plugins are the names of plugins on the path that begin with what was written.
func plugins(c *console.Console, wrote string) []string {
	var names []string
	for _, dir := range filepath.SplitList(c.Getenv("PATH")) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // as shells do
		}
		for _, e := range entries {
			for _, prefix := range pluginPrefixes(c.Name) {
				name, ok := strings.CutPrefix(e.Name(), prefix)
				if !ok || !strings.HasPrefix(name, wrote) || name == "" {
					continue
				}
				if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
