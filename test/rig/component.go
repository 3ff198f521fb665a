package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LaunchComponent starts one component of sluice alone, for example
// "applicationset-controller"; Stop ends it.
func (r *Rig) LaunchComponent(name string, args ...string) (*Process, error) {
	out, err := os.OpenFile(r.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	defer out.Close()
	base := []string{
		name, "--kubeconfig", r.HubPart.Kubeconfig, "--data-dir", filepath.Join(r.options.Dir, name), "--probe-addr", "0", "--repository-poll-interval", "1s", "--logformat", "text",
	}
	cmd := exec.Command(filepath.Join(r.options.Bin, "sluice"), append(base, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.exited) }()
	r.all = append(r.all, p)
	return p, nil
}

// hertz is the unit of CPU time in /proc.
const hertz = 100

// CPU is the time that the process itself has computed since its start.
func (p *Process) CPU() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("cpu of process: %w", err)
	}
	_, after, _ := strings.Cut(string(raw), ") ") // the name may hold anything
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("cpu of process: %d fields", len(fields))
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("cpu of process: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / hertz, nil
}
