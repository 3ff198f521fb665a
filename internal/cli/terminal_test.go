package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// envKey of the values of a script.
type envKey struct{}

// terminal N INPUT PROGRAM ARGS runs a program with a pseudo-terminal of 120
// columns and 30 rows as its input, output and error; it must end with exit code
// N. What appears there becomes the stdout of the script.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal N INPUT PROGRAM ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	outer, inner, err := openTerminal()
	ts.Check(err)
	defer func() { _ = outer.Close() }()
	env, _ := ts.Value(envKey{}).([]string)
	cmd := exec.Command(lookPath(ts.Getenv("PATH"), args[2]), args[3:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(env, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(inner.Close())
	_, err = outer.WriteString(ts.ReadFile(args[1]))
	ts.Check(err)
	var seen strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := outer.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil { // the last program with the terminal has ended
			break
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	_, _ = fmt.Fprint(ts.Stdout(), strings.ReplaceAll(seen.String(), "\r\n", "\n"))
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d:\n%s", got, want, seen.String())
	}
}

func lookPath(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); full != "" {
			if info, err := os.Stat(full); err == nil && !info.IsDir() {
				return full
			}
		}
	}
	return name
}

func openTerminal() (outer, inner *os.File, err error) {
	outer, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(outer.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: 120, Row: 30}); err != nil {
		return nil, nil, err
	}
	inner, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return outer, inner, err
}
