// Package rig sets up everything a run of Sluice needs on one machine: a
// fleet of real clusters, a Git server, and the real sluice process. Demo,
// end-to-end tests and benchmarks share it.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// Namespace of the control plane on the hub.
const Namespace = "argocd"

// Options of a rig.
type Options struct {
	// Bin is the folder with the binaries fleet and sluice; Dir is for files.
	Bin, Dir string
	// Clusters besides the hub, in the form of fleet up --clusters; empty is
	// none: the hub is then the only target.
	Clusters string
	// Memory is what each component of a cluster tries to stay below, in the
	// form of fleet up --memory; empty is its default, which suits many small
	// clusters.
	Memory   string
	Progress io.Writer
}

// Rig is the running set-up.
type Rig struct {
	options Options
	Fleet   *fleet.Fleet
	Git     *gitserver.Server
	Repo    *gitserver.Repository
	Hub     client.Client
	HubPart fleet.Cluster
	process *Process
	all     []*Process
}

// Start brings everything up but the sluice process.
func Start(ctx context.Context, o Options) (*Rig, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("rig: %w", err)
	}
	r := &Rig{options: o}
	var args []string
	if o.Memory != "" {
		args = append(args, "--memory", o.Memory)
	}
	f, err := fleet.Up(ctx, fleet.Options{
		Bin: filepath.Join(o.Bin, "fleet"), Dir: filepath.Join(o.Dir, "fleet"),
		Clusters: strings.TrimSuffix("hub,"+o.Clusters, ","), Args: args, Progress: o.Progress,
	})
	if err != nil {
		return nil, err
	}
	r.Fleet = f
	if err := r.prepare(ctx); err != nil {
		return nil, errors.Join(err, r.Stop(context.WithoutCancel(ctx)))
	}
	return r, nil
}

func (r *Rig) prepare(ctx context.Context) error {
	var err error
	if r.Git, err = gitserver.New(filepath.Join(r.options.Dir, "git"), gitserver.Options{}); err != nil {
		return err
	}
	if r.Repo, err = r.Git.Create("gitops-fleet"); err != nil {
		return err
	}
	if err := r.Settle(ctx, "hub"); err != nil {
		return err
	}
	for _, c := range r.Fleet.Clusters() {
		if c.Name == "hub" {
			continue
		}
		if err := r.Register(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Settle makes a cluster of the fleet the hub, an empty one.
func (r *Rig) Settle(ctx context.Context, name string) error {
	var err error
	if r.HubPart, err = r.Fleet.Cluster(name); err != nil {
		return err
	}
	if out, err := r.Sluice(ctx, "install"); err != nil {
		return fmt.Errorf("sluice install: %w: %s", err, out)
	}
	cfg, err := r.HubPart.Config()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme)); err != nil {
		return err
	}
	if r.Hub, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	return nil
}

// Sluice runs a command of the command line on the hub and gives all it says.
func (r *Rig) Sluice(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.options.Bin, "sluice"), append(args, "--kubeconfig", r.HubPart.Kubeconfig)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Register makes a cluster known by a Secret with its labels.
func (r *Rig) Register(ctx context.Context, c fleet.Cluster) error {
	config, err := c.Credentials()
	if err != nil {
		return err
	}
	labels := map[string]string{v1alpha1.LabelSecretType: "cluster"}
	for k, v := range c.Labels {
		labels[k] = v
	}
	err = r.Hub.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Namespace: Namespace, Labels: labels},
		StringData: map[string]string{"name": c.Name, "server": c.Server, "config": string(config)},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("register cluster %s: %w", c.Name, err)
	}
	return nil
}

// Apply creates or updates an object of the hub given as YAML.
func (r *Rig) Apply(ctx context.Context, manifest string, into client.Object) error {
	if err := yaml.UnmarshalStrict([]byte(manifest), into); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if into.GetNamespace() == "" {
		into.SetNamespace(Namespace)
	}
	if err := r.Hub.Create(ctx, into); err != nil {
		return fmt.Errorf("create %s: %w", into.GetName(), err)
	}
	return nil
}

// Launch starts the sluice process; its log goes to sluice.log in the folder.
func (r *Rig) Launch(args ...string) error { return r.launch("data", args) }

// LaunchIn starts the process with another data folder: under another name.
func (r *Rig) LaunchIn(data string, args ...string) error { return r.launch(data, args) }

func (r *Rig) launch(data string, args []string) error {
	out, err := os.OpenFile(r.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer out.Close()
	base := []string{
		"all", "--kubeconfig", r.HubPart.Kubeconfig, "--data-dir", filepath.Join(r.options.Dir, data),
		"--metrics-addr", "0", "--probe-addr", "0", "--repository-poll-interval", "1s", "--logformat", "text",
	}
	cmd := exec.Command(filepath.Join(r.options.Bin, "sluice"), append(base, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start sluice: %w", err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.exited) }()
	r.process = p
	r.all = append(r.all, p)
	return nil
}

// Process is a running sluice.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// PID is the number of the running sluice process; 0 when none runs.
func (r *Rig) PID() int {
	if r.process == nil {
		return 0
	}
	return r.process.cmd.Process.Pid
}

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Gone waits until the process has ended.
func (p *Process) Gone(ctx context.Context, limit time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-p.exited:
		return nil
	case <-bounded.Done():
		return fmt.Errorf("sluice still runs after %s", limit)
	}
}

// Detach gives the running process away: Kill and Launch no longer know it,
// Stop ends it all the same.
func (r *Rig) Detach() *Process {
	p := r.process
	r.process = nil
	return p
}

// Log is the file the sluice process writes to.
func (r *Rig) Log() string { return filepath.Join(r.options.Dir, "sluice.log") }

// Kill ends the sluice process with a signal and waits until it is gone.
func (r *Rig) Kill(sig syscall.Signal) {
	if r.process == nil {
		return
	}
	r.process.end(sig)
	r.process = nil
}

func (p *Process) end(sig syscall.Signal) {
	_ = p.Signal(syscall.SIGCONT)
	_ = p.Signal(sig)
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		_ = p.Signal(syscall.SIGKILL)
		<-p.exited
	}
}

// Stop takes everything away.
func (r *Rig) Stop(ctx context.Context) error {
	for _, p := range r.all {
		p.end(syscall.SIGTERM)
	}
	var err error
	if r.Git != nil {
		err = r.Git.Close()
	}
	if r.Fleet != nil {
		err = errors.Join(err, r.Fleet.Down(ctx))
	}
	return err
}

// Until calls ok until it holds, ctx ends or the limit is over; what names the
// expectation in the error.
func Until(ctx context.Context, limit time.Duration, what string, ok func(context.Context) (bool, error)) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		done, err := ok(bounded)
		if done && err == nil {
			return nil
		}
		if bounded.Err() == nil { // what was seen, not that time was up
			last = err
		}
		select {
		case <-bounded.Done():
			return fmt.Errorf("not seen within %s: %s (last problem: %w)", limit, what, errors.Join(last, ctx.Err()))
		case <-tick.C:
		}
	}
}
