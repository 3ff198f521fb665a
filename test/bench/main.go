// Command bench measures whole runs on real clusters, beside the floor that
// the API server itself sets in the same run, and compares them with bars.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/test/rig"
)

// Figure is one line of build/bench.json.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Bar is the largest value that is good enough; 0 is no bar.
	Bar float64 `json:"bar"`
	OK  bool    `json:"ok"`
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == worker.Command { // the render workers are this binary
		limit, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err == nil {
			err = worker.Serve(context.Background(), os.Stdin, os.Stdout, limit)
		}
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
	only := flag.String("only", "", "run the figures whose name starts so")
	out := flag.String("out", "build/bench.json", "file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	figures, err := parts(ctx, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	figures = slices.DeleteFunc(figures, func(f Figure) bool { return !strings.HasPrefix(f.Name, *only) })
	if err := report(figures, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func figure(name, unit string, value, bar float64) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Bar: bar, OK: bar == 0 || value <= bar}
}

// parts measures what figures starting with only come from.
func parts(ctx context.Context, only string) ([]Figure, error) {
	if strings.HasPrefix(only, "render.") {
		return measureRender(ctx)
	}
	figures, err := measure(ctx)
	if err != nil || only != "" {
		return figures, err
	}
	more, err := measureRender(ctx)
	return append(figures, more...), err
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// rollouts is how many rollouts the step latency is the median of.
const rollouts = 5

func measure(ctx context.Context) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Clusters: rig.PaymentClusters, Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Stop(context.WithoutCancel(ctx))) }()
	figures = append(figures, figure("fleet.ready_s", "s", r.Fleet.ReadySeconds, 15), figure("fleet.mib_per_cluster", "MiB", r.Fleet.MiB, 600))
	floor, err := roundTrip(ctx, r)
	if err != nil {
		return nil, err
	}
	if _, err := r.CommitPayment("v0"); err != nil {
		return nil, err
	}
	if err := errors.Join(r.Launch(), r.ApplyPayment(ctx)); err != nil {
		return nil, err
	}
	var latencies []float64
	for i := range rollouts {
		tag := fmt.Sprintf("v%d", i+1)
		id, err := r.CommitPayment(tag)
		if err != nil {
			return nil, err
		}
		if err := rig.Until(ctx, 2*time.Minute, tag+" on every cluster", func(ctx context.Context) (bool, error) { return r.Settled(ctx, id) }); err != nil {
			return nil, err
		}
		took, err := r.Latency(tag)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first one waits for the installation of v0
			latencies = append(latencies, float64(took.Microseconds())/1000)
		}
	}
	slices.Sort(latencies)
	return append(figures,
		figure("rollout.step_latency_ms", "ms", latencies[len(latencies)/2], 300),
		figure("rollout.step_latency_max_ms", "ms", latencies[len(latencies)-1], 0),
		figure("floor.api_write_ms", "ms", floor, 0),
	), nil
}

// roundTrip is the median time of one small write to the hub.
func roundTrip(ctx context.Context, r *rig.Rig) (float64, error) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bench-floor", Namespace: rig.Namespace}}
	if err := r.Hub.Create(ctx, cm); err != nil {
		return 0, err
	}
	var all []float64
	for i := range 50 {
		next := cm.DeepCopy()
		next.Data = map[string]string{"n": fmt.Sprint(i)}
		begin := time.Now()
		if err := r.Hub.Patch(ctx, next, client.MergeFrom(cm)); err != nil {
			return 0, err
		}
		all = append(all, float64(time.Since(begin).Microseconds())/1000)
		cm = next
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// report prints the table, merges the figures into the file by name and fails
// when a bar does not hold.
func report(figures []Figure, path string) error {
	var stored []Figure
	if raw, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(raw, &stored); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	missed := 0
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tUNIT\tBAR\tOK")
	for _, f := range figures {
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%.0f\t%v\n", f.Name, f.Value, f.Unit, f.Bar, f.OK)
		if !f.OK {
			missed++
		}
		stored = slices.DeleteFunc(stored, func(o Figure) bool { return o.Name == f.Name })
		stored = append(stored, f)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(stored, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d bars do not hold", missed)
	}
	return nil
}
