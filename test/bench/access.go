package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// measureAccess runs Go benchmarks of single decisions of the server: one
// check of permissions at 1,000 policy lines, the dearest of its cases, and one
// push that concerns 1,500 Applications, until the last of them is marked.
func measureAccess(ctx context.Context, _ size) ([]Figure, error) {
	check, err := slowest(ctx, "BenchmarkAllowed", "./internal/domain/rbac")
	if err != nil {
		return nil, err
	}
	hook, err := slowest(ctx, "BenchmarkWebhook", "./internal/server/webhook")
	if err != nil {
		return nil, err
	}
	return []Figure{figure("server.rbac_check_us", "us", check/1e3, 5), figure("server.webhook_ms", "ms", hook/1e6, 50)}, nil
}

var perOperation = regexp.MustCompile(`\s([\d.]+) ns/op`)

// slowest runs the benchmarks of a package and gives the largest time of one
// operation in nanoseconds.
func slowest(ctx context.Context, pattern, pkg string) (float64, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, pkg).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("benchmark %s of %s: %w: %s", pattern, pkg, err, out)
	}
	most := 0.0
	for _, found := range perOperation.FindAllSubmatch(out, -1) {
		value, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return 0, err
		}
		most = max(most, value)
	}
	if most == 0 {
		return 0, fmt.Errorf("benchmark %s of %s: no figure in %s", pattern, pkg, out)
	}
	return most, nil
}
