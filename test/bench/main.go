// Command bench measures whole runs on real clusters, beside the floor that
// the API server itself sets in the same run, and compares them with bars.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
)

// part is a run that yields figures; only the parts that are asked for run.
type part struct {
	// figures are the names, or beginnings of names, that the part yields.
	figures []string
	measure func(context.Context, size) ([]Figure, error)
}

// size is how much is measured: long forms take many minutes.
type size struct {
	long bool
	// profiles is the folder for profiles of the measured process; empty is
	// none.
	profiles string
}

var parts = []part{
	{[]string{"fleet.", "floor."}, measureFleet},
	{[]string{"rollout.step_", "rollout.total_"}, measureSteps},
	{[]string{"rollout.writes_"}, measureWrites},
	{[]string{"rollout.advance_", "rollout.status_"}, measurePlanner},
	{[]string{"render."}, measureRender},
	{[]string{"server.rbac_", "server.webhook_"}, measureAccess},
	{[]string{"server.list_", "server.fanout_", "server.peak_", "cli.app_list_"}, measureServer},
	{[]string{"cli.version_"}, measureCLI},
	{[]string{"sync."}, measureSync},
	{[]string{"applicationset."}, measureSets},
}

// wanted says that the part yields a figure whose name starts with one of the
// prefixes.
func (p part) wanted(prefixes []string) bool {
	return slices.ContainsFunc(p.figures, func(f string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(f, prefix) || strings.HasPrefix(prefix, f) })
	})
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
	only := flag.String("only", "", "run the figures whose name starts so; several beginnings are divided by commas")
	out := flag.String("out", "build/bench.json", "file to write")
	long := flag.Bool("long", false, "measure with more objects, which takes longer")
	profiles := flag.String("profiles", "", "folder for CPU and memory profiles of sluice during the parts sync.* and server.*")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *out, size{long: *long, profiles: *profiles}); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the wanted parts. Figures of a part that failed are lost, those
// of the others are reported.
func run(ctx context.Context, only, out string, how size) error {
	var figures []Figure
	var problems []error
	prefixes := strings.Split(only, ",")
	for _, p := range parts {
		if !p.wanted(prefixes) {
			continue
		}
		got, err := p.measure(ctx, how)
		problems = append(problems, err)
		figures = append(figures, got...)
	}
	figures = slices.DeleteFunc(figures, func(f Figure) bool {
		return !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(f.Name, prefix) })
	})
	if len(figures) == 0 {
		problems = append(problems, fmt.Errorf("no figure starts with %q", only))
	}
	return errors.Join(append(problems, report(figures, out))...)
}
