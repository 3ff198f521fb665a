package app

import (
	"context"
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
)

type createFlags struct {
	spec                  specFlags
	file, name, namespace string
	upsert, finalizer     bool
	labels, annotations   []string
}

func (v *verbs) create() *cobra.Command {
	f := &createFlags{}
	c := &cobra.Command{Use: "create [APPNAME]", Short: "Create an Application from flags or a file", Args: command.Args(0, 1)}
	f.register(c)
	c.Flags().BoolVar(&f.upsert, "upsert", false, "replace an Application that is different")
	v.namespaceFlag(c, &f.namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		apps, err := v.described(cmd, f, args)
		if err != nil {
			return err
		}
		for i := range apps {
			if err := v.put(cmd.Context(), &apps[i], f); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// register adds the flags that describe an Application.
func (f *createFlags) register(c *cobra.Command) {
	fs := c.Flags()
	f.spec.register(fs)
	fs.StringVarP(&f.file, "file", "f", "", "file or URL with Applications, - is the input")
	fs.StringVar(&f.name, "name", "", "name of the Application; the argument does the same")
	fs.BoolVar(&f.finalizer, "set-finalizer", false, "delete the objects when the Application is deleted")
	fs.StringArrayVarP(&f.labels, "label", "l", nil, "label KEY=VALUE; may be repeated")
	fs.StringArrayVar(&f.annotations, "annotations", nil, "annotation KEY=VALUE; may be repeated")
}

func (v *verbs) fetcher(ctx context.Context) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) { return Fetch(ctx, v.d.Console, name) }
}

// describe makes the Applications that flags and file describe.
func (v *verbs) describe(ctx context.Context, f *createFlags, arg string) ([]v1alpha1.Application, error) {
	ns, name := command.Name(arg, f.namespace)
	var apps []v1alpha1.Application
	if f.file == "" {
		if name == "" {
			return nil, nil
		}
		apps = []v1alpha1.Application{{}}
		apps[0].Spec.Source = &v1alpha1.ApplicationSource{}
	} else {
		raw, err := Fetch(ctx, v.d.Console, f.file)
		if err != nil {
			return nil, err
		}
		if apps, err = Documents(raw, v1alpha1.ApplicationKind, func(a *v1alpha1.Application) string { return a.Kind }); err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
		if len(apps) == 0 {
			return nil, fmt.Errorf("%s holds no Application", f.file)
		}
	}
	if name != "" && len(apps) > 1 {
		return nil, fmt.Errorf("%s holds %d Applications, the argument names one: leave it out", f.file, len(apps))
	}
	for i := range apps {
		if err := f.complete(&apps[i], ns, name); err != nil {
			return nil, err
		}
	}
	return apps, nil
}

// complete puts flags over what a file says.
func (f *createFlags) complete(app *v1alpha1.Application, ns, name string) error {
	if name != "" && app.Name != "" && app.Name != name {
		return fmt.Errorf("app name does not match app spec metadata.name: %s is not %s", name, app.Name)
	}
	if name != "" {
		app.Name = name
	}
	if ns != "" {
		app.Namespace = ns
	}
	app.Kind, app.APIVersion = v1alpha1.ApplicationKind, v1alpha1.GroupVersion.String()
	app.Operation, app.Status = nil, v1alpha1.ApplicationStatus{}
	src := app.Spec.Source
	if src == nil && len(app.Spec.Sources) > 0 && f.spec.sourceGiven() {
		src = &app.Spec.Sources[0]
	}
	if src == nil && f.spec.sourceGiven() {
		app.Spec.Source = &v1alpha1.ApplicationSource{}
		src = app.Spec.Source
	}
	if err := f.spec.apply(&app.Spec, src); err != nil {
		return err
	}
	if app.Spec.Source != nil && reflect.DeepEqual(*app.Spec.Source, v1alpha1.ApplicationSource{}) {
		app.Spec.Source = nil
	}
	if app.Spec.Project == "" {
		app.Spec.Project = "default"
	}
	for _, m := range []struct {
		words []string
		what  string
		into  *map[string]string
	}{{f.labels, "--label", &app.Labels}, {f.annotations, "--annotations", &app.Annotations}} {
		pairs, err := command.Pairs(m.words, m.what)
		if err != nil {
			return err
		}
		for k, value := range pairs {
			if *m.into == nil {
				*m.into = map[string]string{}
			}
			(*m.into)[k] = value
		}
	}
	if f.finalizer {
		put(&app.Finalizers, v1alpha1.FinalizerResources, func(x string) bool { return x == v1alpha1.FinalizerResources })
	}
	return nil
}

// sourceGiven says that a flag about the source was given.
func (f *specFlags) sourceGiven() bool {
	var probe v1alpha1.ApplicationSource
	err := f.applySource(&probe)
	return err != nil || !reflect.DeepEqual(probe, v1alpha1.ApplicationSource{})
}

// put creates an Application and says what became of it.
func (v *verbs) put(ctx context.Context, app *v1alpha1.Application, f *createFlags) error {
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	// Only with the state before can "unchanged" and "updated" be told apart;
	// who may not read it sees "created".
	before, err := c.App(ctx, client.App{Namespace: app.Namespace, Name: app.Name, Project: app.Spec.Project}, "")
	if err != nil {
		before = nil
	}
	after, err := c.CreateApp(ctx, app, f.upsert, f.spec.validate)
	if err != nil {
		return err
	}
	word := "created"
	switch {
	case before == nil:
	case same(before, after):
		word = "unchanged"
	default:
		word = "updated"
	}
	v.d.Console.Printf("application '%s' %s\n", after.Name, word)
	return nil
}

func same(a, b *v1alpha1.Application) bool {
	return reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Labels, b.Labels) && reflect.DeepEqual(a.Annotations, b.Annotations) &&
		reflect.DeepEqual(a.Finalizers, b.Finalizers)
}
