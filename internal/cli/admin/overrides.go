package admin

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// overrides are the verbs that show what settings do to an object of a file.
// Scripts and expressions run in this process: they are of those who call it.
func (v *verbs) overrides(f *settingsFlags) *cobra.Command {
	return command.Group("resource-overrides", "Show what settings say of an object in a file",
		v.judge(f), v.listActions(f), v.runAction(f),
		v.ignored(f, "ignore-differences", "Show which fields do not count when an object is compared with Git", func(s diff.Settings) []diff.Rule { return s.Rules }),
		v.ignored(f, "ignore-resource-updates", "Show which fields of an object may change without a new comparison", func(s diff.Settings) []diff.Rule { return s.Updates }))
}

// single reads one object from a file.
func (v *verbs) single(name string) (*unstructured.Unstructured, error) {
	raw, err := v.Dialer.Console.ReadFile(name)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	text, err := yaml.YAMLToJSON(raw)
	if err == nil {
		err = json.Unmarshal(text, &o.Object) // whole numbers stay whole
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.GetKind() == "" || o.GetAPIVersion() == "" {
		return nil, fail.New("name a file that holds one object", "%s holds no object with apiVersion and kind", name)
	}
	return o, nil
}

// subject reads the object that a verb is about, and the settings.
func (v *verbs) subject(ctx context.Context, f *settingsFlags, name string) (*unstructured.Unstructured, map[string]string, error) {
	o, err := v.single(name)
	if err != nil {
		return nil, nil, err
	}
	l, err := v.load(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	return o, l.config, nil
}

// customized reads what settings say of kinds; keys that cannot be used are
// warned of, as controllers leave them out too.
func (v *verbs) customized(config map[string]string) *customization.Set {
	set, problems := customization.Parse(config)
	for _, p := range problems {
		v.Dialer.Console.Warnf("Warning: %s", p)
	}
	return set
}

func kindOf(o *unstructured.Unstructured) string {
	if group := o.GroupVersionKind().Group; group != "" {
		return group + "/" + o.GetKind()
	}
	return o.GetKind()
}

func (v *verbs) judge(f *settingsFlags) *cobra.Command {
	c := &cobra.Command{Use: "health FILE", Short: "Say how healthy an object is", Args: command.Args(1, 1)}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o, config, err := v.subject(cmd.Context(), f, args[0])
		if err != nil {
			return err
		}
		shipped, err := lua.NewShipped(rules.Files)
		if err != nil {
			return err
		}
		conventions, err := strconv.ParseBool(config["resource.health.conventions"])
		a := health.Assessor{Custom: lua.NewCustom(v.customized(config), lua.NewVM()), Shipped: shipped, Conventions: conventions || err != nil}
		verdict := a.Assess(cmd.Context(), o, nil)
		switch {
		case verdict.Err != nil:
			return verdict.Err
		case !verdict.Known:
			v.Dialer.Console.Printf("No rule says how healthy a %s is\n", kindOf(o))
			return nil
		}
		v.Dialer.Console.Printf("STATUS: %s\nMESSAGE: %s\n", verdict.Code, output.Clean(verdict.Message))
		return nil
	}
	return c
}

func (v *verbs) ignored(f *settingsFlags, use, short string, of func(diff.Settings) []diff.Rule) *cobra.Command {
	c := &cobra.Command{Use: use + " FILE", Short: short, Args: command.Args(1, 1)}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o, config, err := v.subject(cmd.Context(), f, args[0])
		if err != nil {
			return err
		}
		compiled := diff.Compile(of(diff.ParseSettings(config)), jq.Compiler{}.Compile)
		seen, err := compiled.For(object.KeyOf(o)).Without(cmd.Context(), o)
		if err != nil {
			return err
		}
		text, err := v.change(o, seen)
		if err != nil {
			return err
		}
		if text == "" {
			v.Dialer.Console.Printf("No fields are ignored by the settings of %s\n", use)
			return nil
		}
		v.Dialer.Console.Printf("Following fields are ignored:\n\n%s", text)
		return nil
	}
	return c
}

// change is the difference of two objects as YAML; values of Secrets are masked.
func (v *verbs) change(before, after *unstructured.Unstructured) (string, error) {
	after, before = diff.Masked(after, before, nil)
	a, err := yaml.Marshal(before.Object)
	if err != nil {
		return "", err
	}
	b, err := yaml.Marshal(after.Object)
	if err != nil {
		return "", err
	}
	return output.Normal(string(a), string(b)), nil
}

// actions are those that settings and product offer.
func (v *verbs) actions(config map[string]string) (*lua.Actions, error) {
	shipped, err := lua.NewShipped(rules.Files)
	if err != nil {
		return nil, err
	}
	return &lua.Actions{Set: v.customized(config), Runner: lua.NewVM(), Shipped: shipped}, nil
}

func (v *verbs) listActions(f *settingsFlags) *cobra.Command {
	var format string
	c := &cobra.Command{Use: "list-actions FILE", Short: "List the actions of an object", Args: command.Args(1, 1)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o, config, err := v.subject(cmd.Context(), f, args[0])
		if err != nil {
			return err
		}
		known, err := v.actions(config)
		if err != nil {
			return err
		}
		all, err := known.Discover(cmd.Context(), o, v.Dialer.Console.Clock.Now())
		if err != nil {
			return err
		}
		if format != "wide" && format != "" {
			return output.List(v.Dialer.Console.Out, format, all)
		}
		if len(all) == 0 {
			v.Dialer.Console.Printf("A %s has no actions\n", kindOf(o))
			return nil
		}
		table := [][]string{{"NAME", "DISABLED", "ICON", "TITLE"}}
		for _, a := range all {
			table = append(table, []string{a.Name, strconv.FormatBool(a.Disabled), a.IconClass, a.DisplayName})
		}
		return output.Table(v.Dialer.Console.Out, table)
	}
	return c
}

func (v *verbs) runAction(f *settingsFlags) *cobra.Command {
	var params []string
	c := &cobra.Command{Use: "run-action FILE ACTION", Aliases: []string{"action"}, Short: "Show what an action would change; nothing is written", Args: command.Args(2, 2)}
	c.Flags().StringArrayVar(&params, "param", nil, "parameter KEY=VALUE of the action; may be repeated")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		given, err := command.Pairs(params, "--param")
		if err != nil {
			return err
		}
		o, config, err := v.subject(cmd.Context(), f, args[0])
		if err != nil {
			return err
		}
		known, err := v.actions(config)
		if err != nil {
			return err
		}
		now := v.Dialer.Console.Clock.Now()
		changes, err := known.Run(cmd.Context(), lua.Request{Object: o, Action: args[1], Params: given, Now: now})
		if err != nil {
			return v.nearAction(cmd.Context(), known, o, args[1], err)
		}
		for _, change := range changes {
			if err := v.showChange(o, change); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// nearAction adds to an error the name that somebody may have meant.
func (v *verbs) nearAction(ctx context.Context, known *lua.Actions, o *unstructured.Unstructured, name string, err error) error {
	all, listed := known.Discover(ctx, o, v.Dialer.Console.Clock.Now())
	if listed != nil || slices.ContainsFunc(all, func(a action.Action) bool { return a.Name == name }) {
		return err
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	if near := command.Near(name, names); near != "" {
		return fail.New("run-action FILE "+near, "%w, did you mean %q?", err, near)
	}
	return err
}

func (v *verbs) showChange(before *unstructured.Unstructured, c action.Change) error {
	if c.Operation == action.Create {
		v.Dialer.Console.Printf("Following object would be created:\n\n")
		return output.Object(v.Dialer.Console.Out, "yaml", c.Object.Object)
	}
	text, err := v.change(before, c.Object)
	if err != nil {
		return err
	}
	if text == "" {
		v.Dialer.Console.Printf("No fields would be changed\n")
		return nil
	}
	v.Dialer.Console.Printf("Following fields would be changed:\n\n%s", text)
	return nil
}
