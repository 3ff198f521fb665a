package app

import (
	"context"
	"reflect"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

func (v *verbs) set() *cobra.Command {
	f := &specFlags{}
	var namespace string
	var position int
	c := &cobra.Command{Use: "set APPNAME", Short: "Change what flags say of an Application", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	f.register(c.Flags())
	c.Flags().IntVar(&position, "source-position", -1, "source to change, counted from 1")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !f.any() {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		f.fetch = v.fetcher(cmd.Context())
		name := f.source.name
		return v.change(cmd.Context(), appID(args[0], namespace), f.validate, func(app *v1alpha1.Application) (bool, error) {
			src, err := editable(app, name, position)
			if err != nil {
				return false, err
			}
			return true, f.apply(&app.Spec, src)
		})
	}
	return c
}

// editable is the source of an Application that flags name, for changing it; an
// Application without one gets one.
func editable(app *v1alpha1.Application, name string, position int) (*v1alpha1.ApplicationSource, error) {
	if len(app.Spec.Sources) == 0 {
		if app.Spec.Source == nil {
			app.Spec.Source = &v1alpha1.ApplicationSource{}
		}
		return app.Spec.Source, nil
	}
	i, err := sourceIndex(app, name, position)
	if err != nil {
		return nil, err
	}
	return &app.Spec.Sources[i], nil
}

// change reads an Application, edits its spec, and writes it when edit says so.
func (v *verbs) change(ctx context.Context, id client.App, validate bool, edit func(*v1alpha1.Application) (bool, error)) error {
	c, err := v.d.Client(ctx)
	if err != nil {
		return err
	}
	app, err := c.App(ctx, id, "")
	if err != nil {
		return err
	}
	write, err := edit(app)
	if err != nil || !write {
		return err
	}
	_, err = c.UpdateAppSpec(ctx, id, &app.Spec, validate)
	return err
}

// unsetFlags say what to remove.
type unsetFlags struct {
	parameters, values, images, replicas, pluginEnv                    []string
	literal, namePrefix, nameSuffix, version, namespace, missingValues bool
	missingParts, passCredentials, ref                                 bool
	sourceName, appNamespace                                           string
	position                                                           int
}

func (v *verbs) unset() *cobra.Command {
	f := &unsetFlags{}
	c := &cobra.Command{Use: "unset APPNAME", Short: "Remove parameters of an Application", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	fs := c.Flags()
	fs.StringArrayVarP(&f.parameters, "parameter", "p", nil, "Helm parameter to remove; may be repeated")
	fs.StringArrayVar(&f.values, "values", nil, "Helm values file to remove; may be repeated")
	fs.StringArrayVar(&f.images, "kustomize-image", nil, "Kustomize image to remove; may be repeated")
	fs.StringArrayVar(&f.replicas, "kustomize-replica", nil, "Kustomize replicas to remove; may be repeated")
	fs.StringArrayVar(&f.pluginEnv, "plugin-env", nil, "variable of the plugin to remove; may be repeated")
	fs.BoolVar(&f.literal, "values-literal", false, "remove inline Helm values")
	fs.BoolVar(&f.namePrefix, "nameprefix", false, "remove the Kustomize name prefix")
	fs.BoolVar(&f.nameSuffix, "namesuffix", false, "remove the Kustomize name suffix")
	fs.BoolVar(&f.version, "kustomize-version", false, "remove the Kustomize version")
	fs.BoolVar(&f.namespace, "kustomize-namespace", false, "remove the Kustomize namespace")
	fs.BoolVar(&f.missingValues, "ignore-missing-value-files", false, "no longer do without missing values files")
	fs.BoolVar(&f.missingParts, "ignore-missing-components", false, "no longer do without missing components")
	fs.BoolVar(&f.passCredentials, "pass-credentials", false, "no longer send credentials to every host")
	fs.BoolVar(&f.ref, "ref", false, "remove the name by which other sources refer to this one")
	fs.StringVar(&f.sourceName, "source-name", "", "source to change, by name")
	fs.IntVar(&f.position, "source-position", -1, "source to change, counted from 1")
	v.namespaceFlag(c, &f.appNamespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !f.any() {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		return v.change(cmd.Context(), appID(args[0], f.appNamespace), true, func(app *v1alpha1.Application) (bool, error) {
			src, err := editable(app, f.sourceName, f.position)
			if err != nil {
				return false, err
			}
			before := src.DeepCopy()
			f.remove(src)
			return !reflect.DeepEqual(before, src), nil
		})
	}
	return c
}

func (f *unsetFlags) any() bool {
	return len(f.parameters)+len(f.values)+len(f.images)+len(f.replicas)+len(f.pluginEnv) > 0 || f.literal || f.namePrefix || f.nameSuffix ||
		f.version || f.namespace || f.missingValues || f.missingParts || f.passCredentials || f.ref
}

func without[T any](all []T, names []string, name func(T) string) []T {
	return slices.DeleteFunc(all, func(x T) bool { return slices.Contains(names, name(x)) })
}

// remove takes out of a source what the flags say.
func (f *unsetFlags) remove(s *v1alpha1.ApplicationSource) {
	if f.ref {
		s.Ref = ""
	}
	if h := s.Helm; h != nil {
		h.Parameters = without(h.Parameters, f.parameters, func(p v1alpha1.HelmParameter) string { return p.Name })
		h.FileParameters = without(h.FileParameters, f.parameters, func(p v1alpha1.HelmFileParameter) string { return p.Name })
		h.ValueFiles = without(h.ValueFiles, f.values, func(x string) string { return x })
		if f.literal {
			h.Values, h.ValuesObject = "", nil
		}
		h.IgnoreMissingValueFiles = h.IgnoreMissingValueFiles && !f.missingValues
		h.PassCredentials = h.PassCredentials && !f.passCredentials
	}
	if k := s.Kustomize; k != nil {
		k.Images = without(k.Images, mapped(f.images, imageKey), imageKey)
		k.Replicas = without(k.Replicas, f.replicas, func(r v1alpha1.KustomizeReplica) string { return r.Name })
		for _, t := range []struct {
			gone bool
			into *string
		}{{f.namePrefix, &k.NamePrefix}, {f.nameSuffix, &k.NameSuffix}, {f.version, &k.Version}, {f.namespace, &k.Namespace}} {
			if t.gone {
				*t.into = ""
			}
		}
		k.IgnoreMissingComponents = k.IgnoreMissingComponents && !f.missingParts
	}
	if p := s.Plugin; p != nil {
		p.Env = without(p.Env, f.pluginEnv, func(e v1alpha1.EnvEntry) string { return e.Name })
	}
}

func mapped(all []string, f func(string) string) []string {
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = f(x)
	}
	return out
}

func (v *verbs) addSource() *cobra.Command {
	f := &specFlags{}
	var namespace string
	c := &cobra.Command{Use: "add-source APPNAME", Short: "Add a source to an Application", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	f.register(c.Flags())
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f.fetch = v.fetcher(cmd.Context())
		if !f.changed("repo") {
			return fail.Fatal("--repo is missing: a source needs a repository")
		}
		id := appID(args[0], namespace)
		err := v.change(cmd.Context(), id, f.validate, func(app *v1alpha1.Application) (bool, error) {
			if len(app.Spec.Sources) == 0 {
				return false, fail.Fatal("Cannot add source: application %s has a single source: move spec.source into the list spec.sources first", app.Name)
			}
			var src v1alpha1.ApplicationSource
			if err := f.apply(&app.Spec, &src); err != nil {
				return false, err
			}
			app.Spec.Sources = append(app.Spec.Sources, src)
			return true, nil
		})
		return v.updated(id, err)
	}
	return c
}

// updated says that a change was written.
func (v *verbs) updated(id client.App, err error) error {
	if err == nil {
		v.d.Console.Printf("Application '%s' updated successfully\n", id.Name)
	}
	return err
}

func (v *verbs) removeSource() *cobra.Command {
	var namespace, name string
	var position int
	c := &cobra.Command{Use: "remove-source APPNAME", Short: "Remove a source from an Application", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVar(&name, "source-name", "", "source to remove, by name")
	c.Flags().IntVar(&position, "source-position", -1, "source to remove, counted from 1")
	v.namespaceFlag(c, &namespace)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		id := appID(args[0], namespace)
		err := v.change(cmd.Context(), id, true, func(app *v1alpha1.Application) (bool, error) {
			switch len(app.Spec.Sources) {
			case 0:
				return false, fail.Fatal("Application does not have multiple sources configured")
			case 1:
				return false, fail.Fatal("Cannot remove the only source remaining in the app")
			}
			i, err := sourceIndex(app, name, position)
			if err != nil {
				return false, err
			}
			app.Spec.Sources = slices.Delete(app.Spec.Sources, i, i+1)
			return true, nil
		})
		return v.updated(id, err)
	}
	return c
}
