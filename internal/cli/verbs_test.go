package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli"
	"github.com/sluice-cd/sluice/internal/cli/console"
)

// TestEveryVerbIsRun: a command that no script and no test on a fleet runs is one
// that nobody knows to work.
func TestEveryVerbIsRun(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for _, pattern := range []string{"testdata/scripts/*.txtar", "../../test/e2e/*_test.go", "../../test/e2e/testdata/*.sh"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", pattern, err)
		}
		for _, name := range files {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(raw)
		}
	}
	run := regexp.MustCompile(`"\s*,\s*"`).ReplaceAllString(text.String(), " ") // arguments in Go
	count := 0
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		for _, below := range c.Commands() {
			walk(below, strings.TrimSpace(path+" "+below.Name()))
		}
		if c.HasSubCommands() {
			return
		}
		count++
		// Tests on a fleet leave the word admin to a helper.
		if bare, admin := strings.CutPrefix(path, "admin "); !strings.Contains(run, path) && !(admin && (strings.Contains(run, " "+bare) || strings.Contains(run, `"`+bare))) {
			t.Errorf("no script runs: %s", path)
		}
	}
	walk(cli.New(console.System("argocd", console.Build{}), cli.Parts{}).Root, "")
	if count < 150 {
		t.Errorf("%d commands: are they found?", count)
	}
}
