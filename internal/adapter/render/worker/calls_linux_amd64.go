package worker

import "golang.org/x/sys/unix"

// oldCalls are forbidden calls that newer architectures no longer have.
var oldCalls = []uintptr{
	unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_LINK, unix.SYS_SYMLINK,
	unix.SYS_MKNOD, unix.SYS_VFORK, unix.SYS_FORK,
}
