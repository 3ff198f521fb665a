package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// measurePlanner runs the planner's own Go benchmark: it decides on one
// goroutine, so its time is CPU time.
func measurePlanner(ctx context.Context, _ size) ([]Figure, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "BenchmarkNext/(2000|5000)$", "./internal/domain/rollout").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmark of the planner: %w: %s", err, out)
	}
	value := func(pattern string) (float64, error) {
		found := regexp.MustCompile(pattern).FindSubmatch(out)
		if found == nil {
			return 0, fmt.Errorf("benchmark of the planner: no figure in %s", out)
		}
		return strconv.ParseFloat(string(found[1]), 64)
	}
	nanoseconds, err := value(`BenchmarkNext/2000\S*\s+\d+\s+([\d.]+) ns/op`)
	if err != nil {
		return nil, err
	}
	bytes, err := value(`BenchmarkNext/5000.*?([\d.]+) status-bytes`)
	if err != nil {
		return nil, err
	}
	return []Figure{
		figure("rollout.advance_cpu_ms_2000", "ms", nanoseconds/1e6, 100),
		figure("rollout.status_bytes_5000", "B", bytes, 1<<20),
	}, nil
}
