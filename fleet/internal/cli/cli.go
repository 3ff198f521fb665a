// Package cli is the command line of the fleet binary.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	kubectl "k8s.io/kubectl/pkg/cmd"

	"github.com/sluice-cd/sluice/fleet/internal/credential"
	"github.com/sluice-cd/sluice/fleet/internal/supervisor"
)

type flags struct {
	dir    string
	output string
}

// New builds the command tree.
func New() *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use: "fleet", Short: "Real Kubernetes control planes on this machine",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&f.dir, "dir", filepath.Join(os.TempDir(), "sluice-fleet"), "folder of the fleet")
	root.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
	root.AddCommand(f.up(), f.down(), f.status(), f.kubeconfig(), f.fault(), f.audit(), f.kubectl())
	for verb, short := range map[string]string{
		"stop": "Kill the API server of a cluster", "start": "Start a stopped API server again",
		"pause": "Freeze all processes of a cluster", "resume": "Let a frozen cluster go on",
	} {
		root.AddCommand(f.verb(verb, short))
	}
	return root
}

func (f *flags) client() *supervisor.Client { return supervisor.NewClient(f.dir) }

func (f *flags) up() *cobra.Command {
	var clusters, memory string
	var inflight, stages []string
	var nodes int
	var detach, owns bool
	c := &cobra.Command{Use: "up", Short: "Start clusters; Ctrl-C takes everything away", Args: cobra.NoArgs}
	c.Flags().StringVar(&clusters, "clusters", "hub", "NAME[:KEY=VALUE;...],...")
	c.Flags().StringSliceVar(&inflight, "inflight", nil, "NAME=N: concurrent requests a cluster accepts")
	c.Flags().StringSliceVar(&stages, "stage", nil, "file with further kwok stages")
	c.Flags().StringVar(&memory, "memory", "450MiB", "memory that each component tries to stay below, as GOMEMLIMIT; little, so that many clusters fit on a small machine")
	c.Flags().IntVar(&nodes, "nodes", 3, "nodes per cluster")
	c.Flags().BoolVar(&detach, "detach", false, "return when ready and leave the fleet running")
	c.Flags().BoolVar(&owns, "owns-folder", false, "remove the folder at the end")
	_ = c.Flags().MarkHidden("owns-folder")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := supervisor.ParseClusters(clusters)
		if err != nil {
			return err
		}
		if err := setInflight(specs, inflight); err != nil {
			return err
		}
		dir, err := filepath.Abs(f.dir)
		if err != nil {
			return fmt.Errorf("folder: %w", err)
		}
		f.dir = dir
		if detach {
			return f.detach(cmd)
		}
		return supervisor.Run(cmd.Context(), supervisor.Options{
			Dir: dir, Clusters: specs, Nodes: nodes, Stages: stages, Memory: memory, OwnsFolder: owns,
			Progress: func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) },
		})
	}
	return c
}

func setInflight(specs []supervisor.ClusterSpec, limits []string) error {
	for _, l := range limits {
		name, value, _ := strings.Cut(l, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("--inflight %q: want NAME=N", l)
		}
		for i := range specs {
			if specs[i].Name == name {
				specs[i].Inflight = n
			}
		}
	}
	return nil
}

// detach starts the same command in a session of its own and waits for it.
func (f *flags) detach(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own binary: %w", err)
	}
	var args []string
	for _, a := range os.Args[1:] {
		if a != "--detach" && a != "--detach=true" {
			args = append(args, a)
		}
	}
	if _, err := os.Stat(f.dir); errors.Is(err, os.ErrNotExist) {
		args = append(args, "--owns-folder")
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	logFile := filepath.Join(f.dir, "supervisor.log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer out.Close()
	child := exec.Command(self, args...)
	child.Stdout, child.Stderr = out, out
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	return f.follow(cmd, child.Process.Pid, ended, logFile)
}

func (f *flags) follow(cmd *cobra.Command, pid int, ended <-chan error, logFile string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	printed := 0
	for {
		select {
		case <-cmd.Context().Done():
			_ = syscall.Kill(pid, syscall.SIGTERM)
			<-ended
			return cmd.Context().Err()
		case <-ended:
			raw, _ := os.ReadFile(logFile)
			return fmt.Errorf("fleet did not start:\n%s", raw[min(printed, len(raw)):])
		case <-tick.C:
		}
		raw, _ := os.ReadFile(logFile)
		if len(raw) > printed {
			fmt.Fprint(cmd.ErrOrStderr(), string(raw[printed:]))
			printed = len(raw)
		}
		state, err := f.client().Stored()
		if err == nil && state.PID == pid && state.Ready {
			return f.print(cmd.OutOrStdout(), state)
		}
	}
}

func (f *flags) print(w io.Writer, s supervisor.State) error {
	if f.output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "CLUSTER\tSTATE\tVERSION\tSERVER\tPROXY\tMIB\tKUBECONFIG")
	for _, c := range s.Clusters {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.0f\t%s\n", c.Name, c.State, c.Version, c.Server, c.Proxy, c.MiB, c.Kubeconfig)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "ready in %.1fs, %.0f MiB per cluster\n", s.ReadyIn, s.MiB)
	return nil
}

func (f *flags) status() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show what runs", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := f.client().Status(cmd.Context())
		if err != nil {
			return err
		}
		return f.print(cmd.OutOrStdout(), s)
	}}
}

func (f *flags) down() *cobra.Command {
	return &cobra.Command{Use: "down", Short: "Stop the fleet and remove its files", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		client := f.client()
		state, err := client.Stored()
		if err != nil {
			return err
		}
		if err := client.Down(cmd.Context()); err != nil {
			return err
		}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for syscall.Kill(state.PID, 0) == nil {
			select {
			case <-cmd.Context().Done():
				return cmd.Context().Err()
			case <-tick.C:
			}
		}
		return f.printText(cmd, map[string]string{"state": "down"}, "fleet is down")
	}}
}

func (f *flags) printText(cmd *cobra.Command, value any, text string) error {
	if f.output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(value)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

func (f *flags) verb(verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if err := f.client().Command(cmd.Context(), args[0], verb, ""); err != nil {
			return err
		}
		return f.printText(cmd, map[string]string{"cluster": args[0], "verb": verb}, args[0]+": "+verb)
	}}
}

func (f *flags) fault() *cobra.Command {
	return &cobra.Command{Use: "fault NAME latency=200ms|reset|blackhole|truncate=N|clear", Short: "Misbehave on the proxy of a cluster", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		if err := f.client().Command(cmd.Context(), args[0], "fault", args[1]); err != nil {
			return err
		}
		return f.printText(cmd, map[string]string{"cluster": args[0], "fault": args[1]}, args[0]+": fault "+args[1])
	}}
}

func (f *flags) cluster(name string) (supervisor.ClusterState, error) {
	s, err := f.client().Stored()
	if err != nil {
		return supervisor.ClusterState{}, err
	}
	for _, c := range s.Clusters {
		if c.Name == name {
			return c, nil
		}
	}
	return supervisor.ClusterState{}, fmt.Errorf("no cluster %q in this fleet: see fleet status", name)
}

func (f *flags) kubeconfig() *cobra.Command {
	var proxy bool
	var ttl time.Duration
	c := &cobra.Command{Use: "kubeconfig NAME", Short: "Print the path of a kubeconfig, or a short-lived one", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&proxy, "via-proxy", false, "go through the fault proxy")
	c.Flags().DurationVar(&ttl, "ttl", 0, "print a kubeconfig whose credential ends after so long")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := f.cluster(args[0])
		if err != nil {
			return err
		}
		path, server := s.Kubeconfig, s.Server
		if proxy {
			path, server = s.ProxyKubeconfig, s.Proxy
		}
		if ttl == 0 {
			return f.printText(cmd, map[string]string{"kubeconfig": path}, path)
		}
		ca, err := credential.Load(f.dir)
		if err != nil {
			return err
		}
		pair, err := ca.Client("fleet-admin", "system:masters", time.Now(), time.Now().Add(ttl))
		if err != nil {
			return err
		}
		content := string(supervisor.Kubeconfig(s.Name, server, ca.PEM, pair))
		return f.printText(cmd, map[string]string{"content": content}, content)
	}
	return c
}

func (f *flags) audit() *cobra.Command {
	return &cobra.Command{Use: "audit NAME", Short: "Print the path of a cluster's audit log", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		s, err := f.cluster(args[0])
		if err != nil {
			return err
		}
		return f.printText(cmd, map[string]string{"audit": s.AuditLog}, s.AuditLog)
	}}
}

func (f *flags) kubectl() *cobra.Command {
	return &cobra.Command{Use: "kubectl NAME -- ARGS...", Short: "Run kubectl at the cluster's version", Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		s, err := f.cluster(args[0])
		if err != nil {
			return err
		}
		all := append([]string{"--kubeconfig", s.Kubeconfig}, args[1:]...)
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		k := kubectl.NewDefaultKubectlCommandWithArgs(kubectl.KubectlOptions{IOStreams: streams, Arguments: append([]string{"kubectl"}, all...)})
		k.SetArgs(all)
		return run(cmd.Context(), k)
	}}
}

func run(ctx context.Context, c *cobra.Command) error {
	if err := c.ExecuteContext(ctx); err != nil {
		return errors.New("kubectl failed")
	}
	return nil
}
