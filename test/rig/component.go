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
	base := []string{name, "--probe-addr", "0", "--repository-poll-interval", "1s", "--metrics-addr", "0", "--data-dir", filepath.Join(r.options.Dir, name)}
	return r.launchApart(append(base, args...))
}

// LaunchServer starts the API as a process of its own; Stop ends it.
func (r *Rig) LaunchServer(args ...string) (*Process, error) {
	return r.launchApart(append([]string{"server", "--metrics-port", "0", "--data-dir", filepath.Join(r.options.Dir, "server")}, args...))
}

func (r *Rig) launchApart(args []string) (*Process, error) {
	out, err := os.OpenFile(r.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(filepath.Join(r.options.Bin, "sluice"), append(args, "--kubeconfig", r.HubPart.Kubeconfig, "--logformat", "text")...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.exited) }()
	r.all = append(r.all, p)
	return p, nil
}

// End ends the process with a signal and waits until it is gone.
func (p *Process) End(sig syscall.Signal) { p.end(sig) }

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
