// Package declare prints objects as people keep them in Git, for the verbs
// generate-spec (spec/cli.md §6).
package declare

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Flags say in which form declarations are printed, and where.
type Flags struct {
	format string
	inline bool
}

// Register adds the flags; file says whether there is one to be written over.
func (f *Flags) Register(c *cobra.Command, file bool) {
	c.Flags().StringVarP(&f.format, "output", "o", "yaml", "yaml or json")
	if file {
		c.Flags().BoolVarP(&f.inline, "inline", "i", false, "write the result over the file of -f")
	}
}

// Print prints objects, or writes them over the file that they came from.
func (f *Flags) Print(c *console.Console, file string, all ...runtime.Object) error {
	var text bytes.Buffer
	for i, o := range all {
		if i > 0 && f.format == "yaml" {
			text.WriteString("---\n")
		}
		if err := one(&text, f.format, o); err != nil {
			return err
		}
	}
	if !f.inline {
		_, err := c.Out.Write(text.Bytes())
		return err
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return fail.New("name the file with -f", "--inline needs a file to write over, and %q is none", file)
	}
	return console.Replace(file, info.Mode().Perm(), func(w io.Writer) error {
		_, err := w.Write(text.Bytes())
		return err
	})
}

// one prints an object without what an API server writes into it.
func one(w io.Writer, format string, o runtime.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return fmt.Errorf("print as %s: %w", format, err)
	}
	delete(fields, "status")
	if meta, ok := fields["metadata"].(map[string]any); ok {
		delete(meta, "creationTimestamp")
	}
	return output.Object(w, format, fields)
}
