package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// spawner starts children from one locked thread: the kernel kills a child
// with Pdeathsig when the thread that started it ends, not the process.
type spawner struct {
	requests chan func()
	// memory is the soft limit of each child, as GOMEMLIMIT takes it.
	memory string
}

func newSpawner(memory string) *spawner {
	s := &spawner{requests: make(chan func()), memory: memory}
	go func() {
		runtime.LockOSThread()
		for f := range s.requests {
			f()
		}
	}()
	return s
}

// child is a running component.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs this binary as a component with its output in a log file.
func (s *spawner) start(logFile, component string, args []string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own binary: %w", err)
	}
	out, err := os.OpenFile(filepath.Clean(logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", component, err)
	}
	defer out.Close()
	cmd := exec.Command(self, append([]string{"component", component, "--"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "GOGC=60", "GOMEMLIMIT="+s.memory)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	result := make(chan error)
	s.requests <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return nil, fmt.Errorf("start %s: %w", component, err)
	}
	c := &child{cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(c.done) }()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *child) signal(sig syscall.Signal) { _ = c.cmd.Process.Signal(sig) }

func (c *child) kill() {
	c.signal(syscall.SIGCONT)
	c.signal(syscall.SIGKILL)
	<-c.done
}

// residentMiB is the memory of a process that no other process shares the
// pages of; the code of the common binary counts once per fleet, not here.
func residentMiB(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err == nil {
				return kib / 1024
			}
		}
	}
	return 0
}
