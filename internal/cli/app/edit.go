package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) edit() *cobra.Command {
	var namespace string
	c := &cobra.Command{Use: "edit APPNAME", Short: "Edit the spec of an Application in an editor", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := v.d.Client(ctx)
		if err != nil {
			return err
		}
		id := appID(args[0], namespace)
		app, err := c.App(ctx, id, "")
		if err != nil {
			return err
		}
		before, err := yaml.Marshal(app.Spec)
		if err != nil {
			return fmt.Errorf("spec of %s: %w", app.Name, err)
		}
		return Edit(ctx, v.d.Console, before, func(after []byte) error {
			var spec v1alpha1.ApplicationSpec
			if err := yaml.UnmarshalStrict(after, &spec); err != nil {
				return err
			}
			_, err := c.UpdateAppSpec(ctx, id, &spec, true)
			return err
		})
	}
	return c
}

// Edit lets a person edit a text and hands over what he saved; a text that is
// refused comes back with the reason above it. Unchanged text ends it.
func Edit(ctx context.Context, c *console.Console, before []byte, save func([]byte) error) error {
	words, err := console.Words(cmp.Or(c.Getenv("KUBE_EDITOR"), c.Getenv("EDITOR"), "vi"))
	if err != nil || len(words) == 0 {
		return fail.Fatal("EDITOR is no command: %w", cmp.Or(err, errors.New("it is empty")))
	}
	dir, err := os.MkdirTemp("", "sluice-edit-") // mode 0700
	if err != nil {
		return fmt.Errorf("edit: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name := filepath.Join(dir, "edit.yaml")
	text, last := before, before
	for {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return fmt.Errorf("edit: %w", err)
		}
		cmd := exec.CommandContext(ctx, words[0], append(words[1:], name)...) //nolint:gosec // the user's own editor
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, c.Err
		if err := cmd.Run(); err != nil {
			return fail.Fatal("the editor %s failed: %w", words[0], err)
		}
		raw, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			return fmt.Errorf("edit: %w", err)
		}
		after := bytes.TrimSpace(withoutNotes(raw))
		if len(after) == 0 || bytes.Equal(after, bytes.TrimSpace(last)) {
			c.Warnf("Edit cancelled, no changes made.")
			return nil
		}
		err = save(after)
		if err == nil {
			return nil
		}
		if !c.InTerminal {
			return err
		}
		last = after
		text = append([]byte("# "+output.Clean(err.Error())+"\n# Change it again, or save it as it is to give up.\n"), append(after, '\n')...)
	}
}

func withoutNotes(raw []byte) []byte {
	var out []byte
	for line := range bytes.Lines(raw) {
		if !bytes.HasPrefix(line, []byte("#")) {
			out = append(out, line...)
		}
	}
	return out
}

func (v *verbs) patch() *cobra.Command {
	var namespace, patch, kind string
	c := &cobra.Command{Use: "patch APPNAME", Short: "Patch an Application", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVar(&patch, "patch", "", "the patch, JSON")
	c.Flags().StringVar(&kind, "type", "json", "json or merge")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		app, err := c.PatchApp(cmd.Context(), appID(args[0], namespace), patch, kind)
		if err != nil {
			return err
		}
		return output.Object(v.d.Console.Out, "yaml", app)
	}
	return c
}

func (v *verbs) confirmDeletion() *cobra.Command {
	var namespace string
	c := &cobra.Command{Use: "confirm-deletion APPNAME", Short: "Approve deletions of objects that ask for it", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := v.d.Client(ctx)
		if err != nil {
			return err
		}
		id := appID(args[0], namespace)
		app, err := c.App(ctx, id, "")
		if err != nil {
			return err
		}
		if app.Annotations == nil {
			app.Annotations = map[string]string{}
		}
		app.Annotations[v1alpha1.AnnotationDeletionApproved] = v.d.Console.Clock.Now().UTC().Format(time.RFC3339)
		_, err = c.UpdateApp(ctx, app, false)
		return v.updated(id, err)
	}
	return c
}
