package admin

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/cli/admin/backup"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// restoreFlags are those of import.
type restoreFlags struct {
	namespaceFlags
	backup.Options
	dryRun, override, verbose bool
}

func (v *verbs) restore() *cobra.Command {
	f := &restoreFlags{}
	c := &cobra.Command{Use: "import SOURCE", Short: "Create and update what a file of export holds, - is the input", Args: command.Args(1, 1)}
	fs := c.Flags()
	fs.BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	fs.BoolVar(&f.Prune, "prune", false, "delete what the file does not hold, while no controller runs; settings, and what Applications manage, stay")
	fs.BoolVar(&f.override, "override-on-conflict", false, "write anew when somebody else writes at the same time")
	fs.BoolVar(&f.IgnoreTracking, "ignore-tracking", false, "do not take over annotations and labels by which Applications track objects")
	fs.BoolVar(&f.StopOperation, "stop-operation", false, "end operations that run")
	fs.BoolVar(&f.verbose, "verbose", false, "also name what is unchanged")
	fs.StringVar(&f.SkipLabel, "skip-resources-with-label", "", "leave out what has the label KEY=VALUE")
	f.register(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		clock := v.Dialer.Console.Clock
		began := clock.Now()
		if f.SkipLabel != "" && !strings.Contains(f.SkipLabel, "=") {
			return fail.New("--skip-resources-with-label KEY=VALUE", "--skip-resources-with-label %q is no KEY=VALUE", f.SkipLabel)
		}
		h, err := v.connect()
		if err != nil {
			return err
		}
		wanted, err := v.read(args[0], h.namespace)
		if err != nil {
			return err
		}
		steps, err := h.plan(cmd.Context(), f, wanted)
		if err != nil {
			return err
		}
		prunes := slices.ContainsFunc(steps, func(s backup.Step) bool { return s.Action == backup.Prune && s.ID.Kind != backup.Secret })
		if prunes && !f.dryRun {
			if err := h.idle(cmd.Context(), clock.Now()); err != nil {
				return err
			}
		}
		for i := range steps {
			if err := v.take(cmd.Context(), h, f, &steps[i]); err != nil {
				return fmt.Errorf("%s: %w", steps[i].ID, err)
			}
		}
		v.Dialer.Console.Printf("Import process completed successfully in namespace %s at %s, duration: %s\n",
			h.namespace, clock.Now().Format("2006-01-02T15:04:05Z07:00"), clock.Since(began))
		return nil
	}
	return c
}

// maxBackup bounds the file: fifty thousand Applications with their status.
const maxBackup = 2 << 30

// read reads a backup from a file or the input.
func (v *verbs) read(name, controlPlane string) ([]*unstructured.Unstructured, error) {
	from := v.Dialer.Console.In
	if name != "-" {
		f, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	limited := &io.LimitedReader{R: from, N: maxBackup + 1}
	wanted, err := backup.Read(limited, controlPlane)
	if limited.N <= 0 {
		return nil, fmt.Errorf("%s has more than %d GiB", name, maxBackup>>30)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return wanted, nil
}

// plan decides on everything before anything is written.
func (h *hub) plan(ctx context.Context, f *restoreFlags, wanted []*unstructured.Unstructured) ([]backup.Step, error) {
	s, err := h.scope(ctx, f.namespaceFlags)
	for _, o := range wanted { // the hub of the backup knows better than one that is empty
		if err == nil && o.GroupVersionKind() == backup.ConfigMap && o.GetName() == paramsName {
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			s, err = backup.NewScope(h.namespace, f.apps, f.sets, data)
		}
	}
	if err != nil {
		return nil, err
	}
	live, err := h.everything(ctx, s)
	if err != nil {
		return nil, err
	}
	steps, err := backup.Next(wanted, live, s, f.Options)
	if err != nil {
		return nil, err
	}
	return steps, h.namespaces(ctx, append([]string{h.namespace}, backup.Namespaces(steps, h.namespace)...))
}

// namespaces is an error that names those that do not exist.
func (h *hub) namespaces(ctx context.Context, names []string) error {
	var missing []string
	for _, name := range names {
		err := h.client.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, name)
		case apierrors.IsForbidden(err): // then the first write will tell
		case err != nil:
			return fmt.Errorf("Namespace %s: %w", name, err)
		}
	}
	if len(missing) > 0 {
		return fail.New("kubectl create namespace "+missing[0], "these namespaces of the backup do not exist: %s: nothing was written", strings.Join(missing, ", "))
	}
	return nil
}

// take carries a step out and says so.
func (v *verbs) take(ctx context.Context, h *hub, f *restoreFlags, s *backup.Step) error {
	var err error
	if !f.dryRun {
		switch s.Action {
		case backup.Create, backup.Update:
			err = h.put(ctx, f, *s)
		case backup.Prune:
			err = h.prune(ctx, s.Live)
		case backup.Unchanged, backup.Stays:
		}
	}
	if err != nil || s.Action == backup.Unchanged && !f.verbose {
		return err
	}
	word := string(s.Action)
	if f.dryRun && s.Action != backup.Unchanged && s.Action != backup.Stays {
		word += " (dry run)"
	}
	v.Dialer.Console.Printf("%s/%s %s in namespace %s %s\n", s.ID.Kind.Group, s.ID.Kind.Kind, s.ID.Name, s.ID.Namespace, word)
	return nil
}
