package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// cliRuns is how often a command of the command line is started; the slowest
// and the largest run count.
const cliRuns = 20

// measureCLI starts the command line for something that asks no server.
func measureCLI(ctx context.Context, _ size) ([]Figure, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "sluice-cli-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home)
	c := commandLine{bin: filepath.Dir(self), home: home}
	var slowest time.Duration
	var largest float64
	for range cliRuns {
		ran, err := c.run(ctx, "version", "--client")
		if err != nil {
			return nil, err
		}
		slowest, largest = max(slowest, ran.took), max(largest, ran.mib)
	}
	return []Figure{figure("cli.version_ms", "ms", ms(slowest), 100), figure("cli.version_mib", "MiB", largest, 60)}, nil
}

// commandLine is sluice as a person or a script runs it.
type commandLine struct{ bin, home string }

// ran is one finished run: mib is the largest memory that was resident, pages of
// the program included.
type ran struct {
	took time.Duration
	mib  float64
	out  []byte
}

func (c commandLine) run(ctx context.Context, args ...string) (ran, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "sluice"), args...)
	cmd.Env = []string{"HOME=" + c.home}
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		return ran{}, fmt.Errorf("sluice %s: %w: %s", args[0], err, problem.Bytes())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return ran{}, fmt.Errorf("sluice %s: this system does not tell the memory of a process", args[0])
	}
	return ran{took, float64(usage.Maxrss) / 1024, out.Bytes()}, nil
}

// appList lists all Applications on the command line; the slowest of five
// counts.
func (s *serving) appList(ctx context.Context, bin, home string) (worst time.Duration, err error) {
	c := commandLine{bin: bin, home: home}
	for range 5 {
		got, err := c.run(ctx, "app", "list", "--server", s.url[len("http://"):], "--plaintext", "--auth-token", s.token)
		if err != nil {
			return 0, err
		}
		if n := bytes.Count(got.out, []byte("/app-")); n != serverApps {
			return 0, fmt.Errorf("app list has %d Applications, want %d", n, serverApps)
		}
		worst = max(worst, got.took)
	}
	return worst, nil
}
