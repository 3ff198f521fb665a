package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cliRuns is how often a command of the command line is started; the slowest
// run counts.
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
	for range cliRuns {
		took, _, err := c.run(ctx, "version", "--client")
		if err != nil {
			return nil, err
		}
		slowest = max(slowest, took)
	}
	largest, err := c.memory(ctx, "version", "--client")
	if err != nil {
		return nil, err
	}
	return []Figure{figure("cli.version_ms", "ms", ms(slowest), 100), figure("cli.version_mib", "MiB", largest, 60)}, nil
}

// commandLine is sluice as a person or a script runs it.
type commandLine struct{ bin, home string }

func (c commandLine) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "sluice"), args...)
	cmd.Env = []string{"HOME=" + c.home}
	return cmd
}

func (c commandLine) run(ctx context.Context, args ...string) (took time.Duration, printed []byte, err error) {
	cmd := c.command(ctx, args)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, nil, fmt.Errorf("sluice %s: %w: %s", args[0], err, problem.Bytes())
	}
	return time.Since(begin), out.Bytes(), nil
}

// settled is how long the memory of a command must stay the same until it
// counts as all that it takes.
const settled = 300 * time.Millisecond

// memory is the most that was resident of a command, pages of the program
// included, in MiB. The command writes into a full pipe, and is looked at while
// it waits there, at its end: what wait4 tells of a child includes its parent.
func (c commandLine) memory(ctx context.Context, args ...string) (mib float64, err error) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return 0, err
	}
	r, w := os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe")
	defer r.Close()
	defer w.Close()
	for filler := make([]byte, 4096); err == nil; {
		_, err = syscall.Write(ends[1], filler)
	}
	if !errors.Is(err, syscall.EAGAIN) {
		return 0, err
	}
	cmd := c.command(ctx, args)
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var kib int64
	for begin, since := time.Now(), time.Now(); time.Since(since) < settled; <-tick.C {
		now := peakOf(cmd.Process.Pid)
		if now == 0 || time.Since(begin) > 30*time.Second {
			return 0, fmt.Errorf("sluice %s: it ended, or does not come to its end", args[0])
		}
		if now != kib {
			kib, since = now, time.Now()
		}
	}
	return float64(kib) / 1024, nil
}

// peakOf is the most that was resident of a process in KiB; 0 when it has ended.
func peakOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	n, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, _ := strconv.ParseInt(n, 10, 64)
	return kib
}

// appList lists all Applications on the command line; the slowest of five
// counts.
func (s *serving) appList(ctx context.Context, bin, home string) (worst time.Duration, err error) {
	c := commandLine{bin: bin, home: home}
	for range 5 {
		took, out, err := c.run(ctx, "app", "list", "--server", s.url[len("http://"):], "--plaintext", "--auth-token", s.token)
		if err != nil {
			return 0, err
		}
		if n := bytes.Count(out, []byte("/app-")); n != serverApps {
			return 0, fmt.Errorf("app list has %d Applications, want %d", n, serverApps)
		}
		worst = max(worst, took)
	}
	return worst, nil
}
