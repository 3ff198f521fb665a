package hostile_test

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/sluice-cd/sluice/test/hostile"
)

// TestTrap: the trap tells what a test must not miss.
func TestTrap(t *testing.T) {
	trap := hostile.Set(t)
	if got := trap.Touched(t); len(got) > 0 {
		t.Errorf("touched by nobody: %v", got)
	}
	for what, c := range map[string]struct {
		try   func() error
		wants string
	}{
		"a read":            {func() error { _, err := os.ReadFile(trap.File); return err }, trap.File},
		"a listing":         {func() error { _, err := os.ReadDir(trap.Dir); return err }, trap.Dir},
		"a write":           {func() error { return os.WriteFile(trap.Dir+"/new", nil, 0o600) }, trap.Dir + "/new"},
		"a program":         {func() error { return ended(exec.Command(trap.Program).Run()) }, trap.Program},
		"a program in PATH": {func() error { return ended(exec.Command("helm", "version").Run()) }, trap.Program[:len(trap.Program)-2] + "helm"},
	} {
		if err := c.try(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := trap.Touched(t); !slices.Contains(got, c.wants) {
			t.Errorf("%s: noticed %v, want %s", what, got, c.wants)
		}
	}
}

// ended says that a program ran and failed as those of a trap do.
func ended(err error) error {
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 99 {
		return nil
	}
	return err
}

func TestListsAreNotEmpty(t *testing.T) {
	file, program := "/outside/canary.yaml", "/outside/sh"
	for what, n := range map[string]int{
		"paths": len(hostile.Paths(file)), "arguments": len(hostile.Arguments(file, program)), "links": len(hostile.Links(file)) + 40, "URLs": len(hostile.URLs(file, program)),
		"charts": len(hostile.Charts(file, program)), "kustomizations": len(hostile.Kustomizations(file, program)), "jsonnet": len(hostile.Jsonnets(file)), "archives": len(hostile.Archives(file)), "streams": len(hostile.Streams()) + 40,
	} {
		if n < 60 {
			t.Errorf("%d %s, want at least 60", n, what)
		}
	}
}
