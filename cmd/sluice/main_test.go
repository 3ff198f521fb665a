package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli"
)

// TestCommandsOfTheEngine compares what the command line says of the commands
// that it leaves to this program with what they are.
func TestCommandsOfTheEngine(t *testing.T) {
	t.Parallel()
	said := cli.EngineCommands(nil)
	for _, actual := range others() {
		at := slices.IndexFunc(said, func(c *cobra.Command) bool { return c.Name() == actual.Name() })
		if at < 0 {
			t.Errorf("the command line does not know %s", actual.Name())
			continue
		}
		if c := said[at]; c.Short != actual.Short || c.Hidden != actual.Hidden || !slices.Equal(c.Aliases, actual.Aliases) {
			t.Errorf("%s: the command line says %q, %v, hidden %t; it is %q, %v, %t", actual.Name(), c.Short, c.Aliases, c.Hidden, actual.Short, actual.Aliases, actual.Hidden)
		}
		said = slices.Delete(said, at, at+1)
	}
	for _, c := range said {
		t.Errorf("the command line offers %s, which is none", c.Name())
	}
}
