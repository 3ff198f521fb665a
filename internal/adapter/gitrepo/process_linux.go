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

// limitFiles bounds the size of every file that a process that was just
// started, and those it will start, may write.
func limitFiles(pid int, size int64) {
	if size > 0 {
		limit := unix.Rlimit{Cur: uint64(size), Max: uint64(size)}
		_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil) // it may have ended already
	}
}
