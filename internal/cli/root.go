package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/account"
	"github.com/sluice-cd/sluice/internal/cli/admin"
	"github.com/sluice-cd/sluice/internal/cli/app"
	"github.com/sluice-cd/sluice/internal/cli/appset"
	"github.com/sluice-cd/sluice/internal/cli/cluster"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/login"
	"github.com/sluice-cd/sluice/internal/cli/proj"
	"github.com/sluice-cd/sluice/internal/cli/repo"
)

// CLI is the whole command line.
type CLI struct {
	Root    *cobra.Command
	Dialer  *connect.Dialer
	Console *console.Console

	// server says that the command that runs is none of the command line.
	server bool
}

// Parts are what the program gives the command line besides its console; nil is
// what it does not have.
type Parts struct {
	// InProcess opens an API in this process, over Kubernetes alone.
	InProcess func(ctx context.Context, f *connect.Flags) (*connect.Tunnel, error)
	// Forward opens a port-forward to a server.
	Forward func(ctx context.Context, f *connect.Flags) (*connect.Tunnel, error)
	// Dashboard serves API and UI on an address.
	Dashboard func(ctx context.Context, f *connect.Flags, address string, ready func(url string)) error
	// Rehearse compares Applications as a controller would, and writes nothing.
	Rehearse func(ctx context.Context, f *connect.Flags, apps []v1alpha1.Application) ([]v1alpha1.ApplicationStatus, error)
	// Others are commands that are no part of the command line: the servers.
	Others []*cobra.Command
	// HandOver, when it is set, stands for all of the above: it goes on as the
	// program that has them, and returns only when there is none.
	HandOver func() error
}

// New makes the command line.
func New(c *console.Console, p Parts) *CLI {
	if p.HandOver != nil {
		p = handedOver(p.HandOver)
	}
	d := &connect.Dialer{Console: c, InProcess: p.InProcess, Forward: p.Forward}
	others := p.Others
	root := &cobra.Command{
		Use: c.Name, Short: "GitOps delivery for Kubernetes fleets: a change reaches the fleet step by step",
		SilenceUsage: true, SilenceErrors: true, Args: cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return command.Unknown(cmd, args[0])
		}
		return cmd.Help()
	}
	root.ValidArgsFunction = func(_ *cobra.Command, args []string, wrote string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault // arguments of a plugin
		}
		return plugins(c, wrote), cobra.ShellCompDirectiveNoFileComp
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SetFlagErrorFunc(command.FlagError)
	d.Register(root.PersistentFlags(), c.Getenv)
	login.Wire(d)
	root.AddCommand(
		app.Command(d), appset.Command(d), proj.Command(d), cluster.Command(d),
		repo.Command(d), repo.Credentials(d), repo.Certificates(d), repo.Keys(d),
		account.Command(d), login.Login(d), login.Relogin(d), login.Logout(d),
		admin.Command(administration(d, p)), contextCommand(d), configureCommand(d), versionCommand(d), completionCommand(d),
	)
	for _, group := range root.Commands() {
		switch group.Name() { // those that the reference gives the flags of kubectl
		case "account", "app", "appset", "cert", "cluster", "gpg", "proj", "repo", "repocreds":
			d.Kube.Register(group.PersistentFlags(), true)
		}
	}
	for _, other := range others {
		if c.Name != "sluice" {
			other.Hidden = true
		}
	}
	root.AddCommand(others...)
	l := &CLI{Root: root, Dialer: d, Console: c}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if l.server = isOther(cmd, others); l.server || cmd.Root() == cmd {
			return nil
		}
		if err := d.Apply(c.Getenv); err != nil {
			return fail.Fatal("%w", err)
		}
		if err := d.Validate(); err != nil || p.HandOver == nil || !asks(cmd) || !d.Tunneled() {
			return err
		}
		return p.HandOver() // before anything is read or said
	}
	return l
}

func administration(d *connect.Dialer, p Parts) admin.Options {
	o := admin.Options{Dialer: d}
	if p.Dashboard != nil {
		o.Dashboard = func(ctx context.Context, address string, ready func(string)) error {
			return p.Dashboard(ctx, &d.Flags, address, ready)
		}
	}
	if p.Rehearse != nil {
		o.Rehearse = func(ctx context.Context, apps []v1alpha1.Application) ([]v1alpha1.ApplicationStatus, error) {
			return p.Rehearse(ctx, &d.Flags, apps)
		}
	}
	return o
}

func isOther(cmd *cobra.Command, others []*cobra.Command) bool {
	for c := cmd; c != nil; c = c.Parent() {
		for _, o := range others {
			if c == o {
				return true
			}
		}
	}
	return false
}

// Run runs the command line and gives its exit code.
func (l *CLI) Run(ctx context.Context, args []string) int {
	if code, ran := l.plugin(ctx, args); ran {
		return code
	}
	l.Root.SetArgs(args)
	err := l.Root.ExecuteContext(ctx)
	l.Dialer.Close()
	if err == nil {
		return 0
	}
	if l.server {
		_, _ = fmt.Fprintf(l.Console.Err, "%s: %v\n", l.Console.Name, err)
		return fail.Failure
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 130 // as a shell reports an interrupt
	}
	fail.Report(l.Console.Err, err, l.Dialer.Style(l.Console), l.Console.Name, l.Console.Clock.Now())
	return fail.Code(err)
}
