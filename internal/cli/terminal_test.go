package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-cd/sluice/test/terminal"
)

// envKey of the values of a script.
type envKey struct{}

// onTerminal N INPUT PROGRAM ARGS runs a program with a pseudo-terminal of 120
// columns and 30 rows as its input, output and error; it must end with exit code
// N. What appears there becomes the stdout of the script.
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal N INPUT PROGRAM ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	env, _ := ts.Value(envKey{}).([]string)
	cmd := exec.Command(lookPath(ts.Getenv("PATH"), args[2]), args[3:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(env, "TERM=xterm")
	raw, got, err := terminal.Run(cmd, ts.ReadFile(args[1]))
	ts.Check(err)
	_, _ = fmt.Fprint(ts.Stdout(), strings.ReplaceAll(raw, "\r\n", "\n"))
	if got != want {
		ts.Fatalf("exit code %d, want %d:\n%s", got, want, raw)
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
