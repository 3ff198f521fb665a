package gitrepo

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToParent makes git and what it starts (ssh, index-pack) end together,
// and with this process however that ends.
func bindToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// limitProcess bounds the size of every file and the memory of a process that
// was just started, and of those it will start. Zero is no limit.
func limitProcess(pid int, file, memory int64) {
	for resource, size := range map[int]int64{unix.RLIMIT_FSIZE: file, unix.RLIMIT_DATA: memory} {
		if size > 0 {
			limit := unix.Rlimit{Cur: uint64(size), Max: uint64(size)}
			_ = unix.Prlimit(pid, resource, &limit, nil) // it may have ended already
		}
	}
}
