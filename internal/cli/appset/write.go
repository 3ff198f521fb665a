package appset

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/app"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// read reads the ApplicationSets of a file or URL.
func (v *verbs) read(ctx context.Context, name, namespace string) ([]v1alpha1.ApplicationSet, error) {
	raw, err := app.Fetch(ctx, v.d.Console, name)
	if err != nil {
		return nil, err
	}
	sets, err := app.Documents(raw, v1alpha1.ApplicationSetKind, func(s *v1alpha1.ApplicationSet) string { return s.Kind })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s holds no ApplicationSet", name)
	}
	for i := range sets {
		if sets[i].Name == "" {
			return nil, fmt.Errorf("%s: ApplicationSet %d has no metadata.name", name, i+1)
		}
		if sets[i].Namespace == "" {
			sets[i].Namespace = namespace
		}
	}
	return sets, nil
}

type createFlags struct {
	upsert, dryRun, wait bool
	output, namespace    string
}

func (v *verbs) create() *cobra.Command {
	f := &createFlags{}
	c := &cobra.Command{Use: "create FILE|URL", Short: "Create ApplicationSets from a file", Args: command.Args(1, -1)}
	c.Flags().BoolVar(&f.upsert, "upsert", false, "replace one that is different")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would be generated")
	c.Flags().BoolVar(&f.wait, "wait", false, "wait until the Applications are up to date")
	c.Flags().StringVarP(&f.output, "output", "o", "", "wide, json or yaml")
	c.Flags().StringVarP(&f.namespace, "appset-namespace", "N", "", "namespace when the file names none")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		sets, err := v.read(cmd.Context(), args[0], f.namespace)
		if err != nil {
			return err
		}
		for i := range sets {
			if err := v.createOne(cmd.Context(), &sets[i], f); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (v *verbs) createOne(ctx context.Context, s *v1alpha1.ApplicationSet, f *createFlags) error {
	api, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	before, err := api.Set(ctx, s.Namespace, s.Name)
	if err != nil {
		before = nil // absent, or not to be seen: then it is told as created
	}
	after, err := api.CreateSet(ctx, s, f.upsert, f.dryRun)
	if err != nil {
		return err
	}
	word := "created"
	switch {
	case before == nil:
	case reflect.DeepEqual(before.Spec, after.Spec) && reflect.DeepEqual(before.Labels, after.Labels) && reflect.DeepEqual(before.Annotations, after.Annotations):
		word = "unchanged"
	default:
		word = "updated"
	}
	if f.dryRun {
		word += " (dry-run)"
	}
	v.d.Console.Warnf("ApplicationSet '%s' %s", after.Name, word)
	if f.wait && !f.dryRun {
		if after, err = v.upToDate(ctx, api, after); err != nil {
			return err
		}
	}
	return v.show(ctx, after, f.output, false)
}

// upToDate waits until the Applications of a set are up to date.
func (v *verbs) upToDate(ctx context.Context, api *client.Client, s *v1alpha1.ApplicationSet) (*v1alpha1.ApplicationSet, error) {
	ready := func(s *v1alpha1.ApplicationSet) bool {
		for _, c := range s.Status.Conditions {
			if c.Type == v1alpha1.AppSetResourcesUpToDate {
				return c.Status == "True"
			}
		}
		return false
	}
	if ready(s) {
		return s, nil
	}
	out := s
	err := api.WatchSets(ctx, client.SetQuery{Name: s.Name, Namespace: s.Namespace}, func(e *client.SetEvent) error {
		if e.Type == "DELETED" {
			return fmt.Errorf("ApplicationSet %s was deleted", s.Name)
		}
		out = &e.ApplicationSet
		if ready(out) {
			return client.Enough()
		}
		return nil
	})
	return out, err
}

func (v *verbs) generate() *cobra.Command {
	var format, namespace string
	c := &cobra.Command{Use: "generate FILE|URL", Short: "Render the Applications of an ApplicationSet without saving anything", Args: command.Args(1, 1)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, name, json or yaml")
	c.Flags().StringVarP(&namespace, "appset-namespace", "N", "", "namespace when the file names none")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		sets, err := v.read(cmd.Context(), args[0], namespace)
		if err != nil {
			return err
		}
		if len(sets) != 1 {
			return fmt.Errorf("%s holds %d ApplicationSets: it must be exactly one", args[0], len(sets))
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		apps, err := api.Generate(cmd.Context(), &sets[0])
		if err != nil {
			return err
		}
		for i := range apps {
			apps[i].Kind, apps[i].APIVersion = v1alpha1.ApplicationKind, v1alpha1.GroupVersion.String()
		}
		switch format {
		case "wide", "":
			return app.PrintTable(v.d.Console.Out, apps)
		case "name":
			for i := range apps {
				v.d.Console.Printf("%s\n", app.Qualified(&apps[i]))
			}
			return nil
		}
		return output.List(v.d.Console.Out, format, apps)
	}
	return c
}

func (v *verbs) delete() *cobra.Command {
	var yes, wait bool
	var namespace string
	c := &cobra.Command{Use: "delete APPSETNAME...", Short: "Delete ApplicationSets with their Applications", Args: command.Args(1, -1), ValidArgsFunction: v.names()}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is gone")
	c.Flags().StringVarP(&namespace, "appset-namespace", "N", "", "namespace of the ApplicationSet")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		all := yes || !v.d.Console.OutTerminal
		for _, arg := range args {
			ns, name := command.Name(arg, namespace)
			if !all {
				answer, err := v.confirm(arg, len(args) > 1)
				if err != nil {
					return err
				}
				if answer == "n" {
					v.d.Console.Printf("The command to delete '%s' was cancelled.\n", arg)
					continue
				}
				all = answer == "a"
			}
			if err := v.deleteOne(cmd.Context(), api, ns, name, wait); err != nil {
				return err
			}
			v.d.Console.Printf("applicationset '%s' deleted\n", name)
		}
		return nil
	}
	return c
}

func (v *verbs) confirm(name string, several bool) (string, error) {
	question := "Are you sure you want to delete '" + name + "' and all its Applications? "
	if several {
		return v.d.Console.Choose(question+"[y/n/a] where 'a' is to delete all specified ApplicationSets without prompting ", "y", "n", "a")
	}
	return v.d.Console.Choose(question+"[y/n] ", "y", "n")
}

func (v *verbs) deleteOne(ctx context.Context, api *client.Client, ns, name string, wait bool) error {
	if err := api.DeleteSet(ctx, ns, name); err != nil || !wait {
		return err
	}
	again := v.d.Console.Clock.NewTicker(lookAgain)
	defer again.Stop()
	for {
		_, err := api.Set(ctx, ns, name)
		if code := client.CodeOf(err); code == client.NotFound || code == client.PermissionDenied {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C():
		}
	}
}

// lookAgain is the pause between two looks at a set that is being deleted.
const lookAgain = time.Second

// confirmDeletion approves a deletion that the guard holds back: the number
// must be the one that the condition names (spec/applicationset.md §6.9).
func (v *verbs) confirmDeletion() *cobra.Command {
	var namespace string
	var count int
	c := &cobra.Command{Use: "confirm-deletion APPSETNAME", Short: "Approve deletions of Applications that the guard holds back", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&namespace, "appset-namespace", "N", "", "namespace of the ApplicationSet")
	c.Flags().IntVar(&count, "count", 0, "number of Applications to delete, as condition DeletionGuarded names it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		ns, name := command.Name(args[0], namespace)
		s, err := api.Set(cmd.Context(), ns, name)
		if err != nil {
			return err
		}
		guarded := ""
		for _, c := range s.Status.Conditions {
			if c.Type == v1alpha1.AppSetDeletionGuarded && c.Status == "True" {
				guarded = c.Message
			}
		}
		if guarded == "" {
			return fail.Fatal("ApplicationSet %s holds no deletion back", name)
		}
		if count <= 0 {
			return fail.New(cmd.CommandPath()+" "+name+" --count N", "say how many: %s", guarded)
		}
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[v1alpha1.AnnotationConfirmDeletion] = strconv.Itoa(count)
		if _, err := api.CreateSet(cmd.Context(), s, true, false); err != nil {
			return err
		}
		v.d.Console.Printf("applicationset '%s': deletion of %d Applications confirmed\n", name, count)
		return nil
	}
	return c
}
