package gitrepo

import (
	"os/exec"
	"syscall"
)

// bindToParent makes git and what it starts (ssh, index-pack) end together,
// and with this process however that ends.
func bindToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
