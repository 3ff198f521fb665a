package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// sizes of the sets whose growth is shown.
var sizes = []int{500, 1000, 2000, 5000}

// Bars of spec/progressive-sync.md §6.14; growth is how much more one
// Application costs in the largest set than in the smallest.
const (
	maxAdvanceMS   = 100
	maxStatusBytes = 1 << 20
	maxGrowth      = 1.5
)

// measurePlanner runs the Go benchmark of a whole turn: CPU time of the
// process, garbage collection included, and bytes of the status as stored.
func measurePlanner(ctx context.Context, _ size) ([]Figure, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "BenchmarkTurn", "-benchtime", "3s", "./internal/controller/advance").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmark of a turn: %w: %s", err, out)
	}
	value := func(n int, unit string) (float64, error) {
		found := regexp.MustCompile(fmt.Sprintf(`BenchmarkTurn/%d(?:-\d+)?\s.*?([\d.]+) %s`, n, unit)).FindSubmatch(out)
		if found == nil {
			return 0, fmt.Errorf("benchmark of a turn: no %s of %d in %s", unit, n, out)
		}
		return strconv.ParseFloat(string(found[1]), 64)
	}
	var figures []Figure
	each := map[int]float64{}
	for _, n := range sizes {
		cpu, err := value(n, "cpu-ns/op")
		if err != nil {
			return nil, err
		}
		bytes, err := value(n, "status-bytes")
		if err != nil {
			return nil, err
		}
		each[n] = cpu / float64(n)
		bar := 0.0
		if n == 2000 {
			bar = maxAdvanceMS
		}
		figures = append(figures,
			figure(fmt.Sprintf("rollout.advance_cpu_ms_%d", n), "ms", cpu/1e6, bar),
			figure(fmt.Sprintf("rollout.status_bytes_%d", n), "B", bytes, maxStatusBytes))
	}
	growth := each[sizes[len(sizes)-1]] / each[sizes[0]]
	return append(figures, figure("rollout.advance_growth", "", growth, maxGrowth)), nil
}
