package lua

import (
	"fmt"
	"os/exec"
	"syscall"
)

// rlimitData is RLIMIT_DATA, which package syscall does not export for all
// architectures.
const rlimitData = 2

// bind makes a child end with this process, however that ends.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// confine bounds the writable memory of this process, in bytes, and the files
// it may write and the dumps it may leave to none.
func confine(bytes uint64) error {
	for resource, limit := range map[int]uint64{rlimitData: bytes, syscall.RLIMIT_CORE: 0, syscall.RLIMIT_FSIZE: 0} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("bound resource %d of the worker: %w", resource, err)
		}
	}
	return nil
}
