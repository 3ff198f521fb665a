package hostile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Secret is in every file of a Trap.
const Secret = "c4n4ry-outside"

// programs are names of programs that something could be tempted to run.
var programs = []string{"sh", "bash", "helm", "kustomize", "jsonnet", "ssh", "curl", "wget", "cat", "id", "touch", "tar", "python3", "docker", "kubectl", "git-remote-ext", "git-lfs", "gpg", "true"}

// Trap is a folder outside every tree. Nothing in it may be opened, listed,
// written or run; the kernel tells.
type Trap struct {
	// File holds manifests, values and more; Dir is its folder. Program would
	// leave a trace.
	File, Dir, Program string
	watch              int
	names              map[int32]string
}

// Set makes a Trap whose programs stand first in PATH. Check is called at the
// end of the test, too.
func Set(t testing.TB) *Trap {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	trap := &Trap{Dir: filepath.Join(base, "outside"), names: map[int32]string{}}
	bin := filepath.Join(base, "bin")
	trap.File, trap.Program = filepath.Join(trap.Dir, "canary.yaml"), filepath.Join(bin, "sh")
	content := "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + Secret + "}, data: {a: " + Secret + "}, resources: [" + Secret + "]}\n"
	for _, dir := range []string{trap.Dir, bin} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"canary.yaml", "canary.json", "canary.jsonnet", "Chart.yaml", "kustomization.yaml", "values.yaml"} {
		if err := os.WriteFile(filepath.Join(trap.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexit 99\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if trap.watch, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{trap.Dir, bin} {
		id, err := unix.InotifyAddWatch(trap.watch, dir, unix.IN_OPEN|unix.IN_ACCESS|unix.IN_CREATE|unix.IN_MODIFY|unix.IN_DELETE|unix.IN_MOVE)
		if err != nil {
			t.Fatal(err)
		}
		trap.names[int32(id)] = dir //nolint:gosec // a small number
	}
	t.Cleanup(func() {
		trap.Check(t, "at the end")
		_ = unix.Close(trap.watch)
	})
	return trap
}

// Check fails the test when the trap was touched since the last call; what
// says what was tried.
func (trap *Trap) Check(t testing.TB, what string) {
	t.Helper()
	for _, touched := range trap.Touched(t) {
		t.Errorf("%s: %s was opened, listed, written or run", what, touched)
	}
}

// Touched lists what was touched since the last call.
func (trap *Trap) Touched(t testing.TB) (out []string) {
	t.Helper()
	buffer := make([]byte, 64<<10)
	for {
		n, err := unix.Read(trap.watch, buffer)
		if err == unix.EAGAIN || err == unix.EINTR && n <= 0 {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&buffer[at])) //nolint:gosec // how the kernel writes them
			at += unix.SizeofInotifyEvent
			name := strings.TrimRight(string(buffer[at:at+int(e.Len)]), "\x00")
			at += int(e.Len)
			out = append(out, filepath.Join(trap.names[e.Wd], name))
		}
	}
}
