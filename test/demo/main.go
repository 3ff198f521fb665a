// Command demo shows what Sluice is for: a commit reaches a fleet in waves,
// and a bad one stops at the first cluster it hurts. With DEMO_EXIT=1 it ends
// after the last act and fails unless every expected state was seen.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cd/sluice/test/rig"
	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	begin := time.Now()
	fmt.Fprintln(out, "Starting a hub and five clusters: real Kubernetes control planes on this machine ...")
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Clusters: rig.PaymentClusters, Progress: out})
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(out, "Taking everything away ...")
		if err := r.Stop(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(out, "clean-up:", err)
		}
	}()
	d := &demo{Rig: r, out: out, live: term.IsTerminal(int(os.Stdout.Fd()))}
	if err := d.open(ctx); err != nil {
		return d.explain(err)
	}
	fmt.Fprintf(out, "Ready after %.0f s.\n", time.Since(begin).Seconds())
	for i, act := range []func(context.Context) error{d.rollOut, d.badCommit, d.revert, d.pause} {
		fmt.Fprintf(out, "\nACT %d  ", i+1)
		if err := act(ctx); err != nil {
			return d.explain(fmt.Errorf("act %d: %w", i+1, err))
		}
	}
	if os.Getenv("DEMO_EXIT") == "1" {
		fmt.Fprintln(out, "\nAll four acts went as expected.")
		return nil
	}
	fmt.Fprintln(out, "\nEverything keeps running. Look around, then press Ctrl-C:")
	for _, c := range r.Fleet.Clusters() {
		fmt.Fprintf(out, "  export KUBECONFIG=%s   # %s\n", c.Kubeconfig, c.Name)
	}
	fmt.Fprintf(out, "  git clone %s\n  tail -f %s\n", r.Git.URL("gitops-fleet"), r.Log())
	<-ctx.Done()
	return nil
}

type demo struct {
	*rig.Rig
	out   io.Writer
	live  bool
	drawn int
	last  string
}

// explain adds the end of the log to an error.
func (d *demo) explain(err error) error {
	raw, readErr := os.ReadFile(d.Log())
	if readErr != nil || errors.Is(err, context.Canceled) {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return fmt.Errorf("%w\nlast lines of the log:\n%s", err, strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// open installs version v1 everywhere.
func (d *demo) open(ctx context.Context) error {
	fmt.Fprintln(d.out, "Starting sluice and rolling out payment-service v1 ...")
	id, err := d.CommitPayment("v1")
	if err != nil {
		return err
	}
	if err := d.Launch(); err != nil {
		return err
	}
	if err := d.ApplyPayment(ctx); err != nil {
		return err
	}
	return d.follow(ctx, 90*time.Second, "v1 on every cluster", func(ctx context.Context) (bool, error) { return d.Settled(ctx, id) })
}

func (d *demo) rollOut(ctx context.Context) error {
	fmt.Fprintln(d.out, "A commit brings v2: canary first, then primary, then secondary; each step waits for the health of the one before.")
	id, err := d.CommitPayment("v2")
	if err != nil {
		return err
	}
	if err := d.follow(ctx, 90*time.Second, "v2 on every cluster", func(ctx context.Context) (bool, error) { return d.Settled(ctx, id) }); err != nil {
		return err
	}
	latency, err := d.Latency("v2")
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "From the canary's last health event to the first write of the next step: %d ms.\n", latency.Milliseconds())
	return nil
}

func (d *demo) badCommit(ctx context.Context) error {
	fmt.Fprintln(d.out, "A commit brings v3, which crash-loops: the canary takes the hit, nobody else ever sees it.")
	id, err := d.CommitPayment("crash-v3")
	if err != nil {
		return err
	}
	held := func(ctx context.Context) (bool, error) {
		rows, set, err := d.Rows(ctx)
		if err != nil || len(rows) == 0 || set.Status.Rollout == nil {
			return false, err
		}
		for _, row := range rows {
			if row.Revision != id {
				return false, nil
			}
		}
		return rows[0].Cluster == rig.Canary && rows[0].Health == "Degraded" && rows[0].Status == "Progressing" && set.Status.Rollout.CurrentStep == 1, nil
	}
	if err := d.follow(ctx, 60*time.Second, "a degraded canary that holds step 1", held); err != nil {
		return err
	}
	return d.onlyCanary()
}

// onlyCanary asks the clusters themselves who received v3.
func (d *demo) onlyCanary() error {
	got, err := d.Received("crash-v3")
	if err != nil {
		return err
	}
	if len(got) != 1 || got[0] != rig.Canary {
		return fmt.Errorf("v3 was written to %v, expected the canary only", got)
	}
	fmt.Fprintln(d.out, "The clusters' own audit logs say: v3 was written to "+got[0]+" and nowhere else.")
	return nil
}

func (d *demo) revert(ctx context.Context) error {
	fmt.Fprintln(d.out, "git revert: the canary goes back, the others already match.")
	head, err := d.Repo.Git("rev-parse", "HEAD")
	if err != nil {
		return err
	}
	id, err := d.Repo.Revert(strings.TrimSpace(head))
	if err != nil {
		return err
	}
	if err := d.follow(ctx, 60*time.Second, "the canary back on v2", func(ctx context.Context) (bool, error) { return d.Settled(ctx, id) }); err != nil {
		return err
	}
	return d.onlyCanary()
}

func (d *demo) pause(ctx context.Context) error {
	fmt.Fprintln(d.out, "Pause, commit v4, resume: nobody receives v4 while argocd.argoproj.io/pause-rollout is on the ApplicationSet.")
	if err := d.Pause(ctx, true); err != nil {
		return err
	}
	id, err := d.CommitPayment("v4")
	if err != nil {
		return err
	}
	paused := func(ctx context.Context) (bool, error) {
		rows, set, err := d.Rows(ctx)
		if err != nil || set.Status.Rollout == nil {
			return false, err
		}
		for _, row := range rows {
			if row.Revision != id || row.Sync != "OutOfSync" {
				return false, nil
			}
		}
		return set.Status.Rollout.Phase == "Paused", nil
	}
	if err := d.follow(ctx, 60*time.Second, "every cluster waiting while paused", paused); err != nil {
		return err
	}
	if got, err := d.Received("payment-service:v4"); err != nil || len(got) != 0 {
		return fmt.Errorf("v4 was written to %v while paused: %w", got, err)
	}
	fmt.Fprintln(d.out, "Paused: everyone knows about v4, nobody received it. Resuming ...")
	if err := d.Pause(ctx, false); err != nil {
		return err
	}
	return d.follow(ctx, 90*time.Second, "v4 on every cluster", func(ctx context.Context) (bool, error) { return d.Settled(ctx, id) })
}

// follow shows the table until ok holds.
func (d *demo) follow(ctx context.Context, limit time.Duration, what string, ok func(context.Context) (bool, error)) error {
	d.drawn, d.last = 0, ""
	err := rig.Until(ctx, limit, what, func(ctx context.Context) (bool, error) {
		d.draw(ctx)
		return ok(ctx)
	})
	d.draw(context.WithoutCancel(ctx))
	return err
}

// draw prints the table: in place on a terminal, once per change elsewhere.
func (d *demo) draw(ctx context.Context) {
	rows, set, err := d.Rows(ctx)
	if err != nil || len(rows) == 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %-4s  %-18s  %-11s  %-10s  %-11s  %s\n", "STEP", "CLUSTER", "ROLLOUT", "SYNC", "HEALTH", "REVISION")
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-4s  %-18s  %-11s  %-10s  %-11s  %.7s\n", r.Step, r.Cluster, r.Status, r.Sync, r.Health, r.Revision)
	}
	if ro := set.Status.Rollout; ro != nil {
		fmt.Fprintf(&b, "  rollout %d: %s\n", ro.ID, ro.Phase)
	}
	table := b.String()
	if table == d.last {
		return
	}
	if d.live && d.drawn > 0 {
		fmt.Fprintf(d.out, "\x1b[%dA\x1b[J", d.drawn)
	}
	if d.live || d.last == "" || table != d.last {
		fmt.Fprint(d.out, table)
	}
	d.drawn, d.last = strings.Count(table, "\n"), table
}
