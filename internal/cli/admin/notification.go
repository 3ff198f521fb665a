package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/domain/notice"
)

// notificationFlags say where declarations are read (spec/observability.md §4.1).
type notificationFlags struct{ config, secret string }

// notifications list what is declared, and try it: notify.go.
func (v *verbs) notifications() *cobra.Command {
	f := &notificationFlags{}
	c := command.Group("notifications", "List what "+notice.ConfigName+" declares, and try it",
		command.Group("template", "Templates of messages", v.declared(f, declaredKind{"template", []string{"NAME", "PREVIEW"}, preview}), v.notify(f)),
		command.Group("trigger", "Triggers of messages", v.declared(f, declaredKind{"trigger", []string{"NAME", "TEMPLATES", "CONDITION"}, conditions}), v.runTrigger(f)))
	fs := c.PersistentFlags()
	fs.StringVar(&f.config, "config-map", "", "file with ConfigMap "+notice.ConfigName+"; default: that of the hub")
	fs.StringVar(&f.secret, "secret", "", "file with Secret "+notice.SecretName+", "+noSecret+" for none; default: that of the hub, and none when the ConfigMap and the Application are files")
	fs.String("argocd-repo-server", "", "accepted: nothing is asked of a repository")
	fs.Bool("argocd-repo-server-plaintext", false, "accepted: nothing is asked of a repository")
	fs.Bool("argocd-repo-server-strict-tls", false, "accepted: nothing is asked of a repository")
	return c
}

// declaredKind is a sort of declarations.
type declaredKind struct {
	name string
	head []string
	// rows are those of one declaration.
	rows func(name string, value any) [][]string
}

func (v *verbs) declared(f *notificationFlags, kind declaredKind) *cobra.Command {
	var format string
	c := &cobra.Command{Use: "get [NAME]", Short: "List " + kind.name + "s, or show one", Args: command.Args(0, 1)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, name, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := v.declarations(cmd.Context(), f, kind.name)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			names := make([]string, len(all))
			for i := range all {
				names[i] = all[i].Name
			}
			at := slices.Index(names, args[0])
			if at < 0 {
				return fail.New(fmt.Sprintf("%s admin notifications %s get %s", v.Dialer.Console.Name, kind.name, command.Near(args[0], names)), "%s declares no %s %s", notice.ConfigName, kind.name, args[0])
			}
			all = all[at : at+1]
		}
		switch format {
		case "name":
			for _, d := range all {
				v.Dialer.Console.Printf("%s\n", d.Name)
			}
			return nil
		case "wide", "":
			table := [][]string{kind.head}
			for _, d := range all {
				table = append(table, kind.rows(d.Name, d.Value)...)
			}
			return output.Table(v.Dialer.Console.Out, table)
		}
		return output.List(v.Dialer.Console.Out, format, all)
	}
	return c
}

// declaration is one entry of the config map.
type declaration struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// declares reads the data of the config map.
func (v *verbs) declares(ctx context.Context, f *notificationFlags) (map[string]string, error) {
	if f.config == "" {
		h, err := v.connect()
		if err != nil {
			return nil, err
		}
		return h.settings(ctx, notice.ConfigName)
	}
	var cm corev1.ConfigMap
	err := v.object(f.config, "ConfigMap", func(raw []byte) error { return yaml.Unmarshal(raw, &cm) })
	return cm.Data, err
}

// declarations reads the entries of a sort, sorted by name.
func (v *verbs) declarations(ctx context.Context, f *notificationFlags, kind string) ([]declaration, error) {
	data, err := v.declares(ctx, f)
	if err != nil {
		return nil, err
	}
	out := []declaration{}
	for key, text := range data {
		name, ok := strings.CutPrefix(key, kind+".")
		if !ok || name == "" {
			continue
		}
		d := declaration{Name: name}
		if err := yaml.Unmarshal([]byte(text), &d.Value); err != nil {
			return nil, fmt.Errorf("ConfigMap/%s: key %s is no YAML: %w", notice.ConfigName, key, err)
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b declaration) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// maxPreview bounds what a table shows of a message, in characters.
const maxPreview = 60

func preview(name string, value any) [][]string {
	fields, _ := value.(map[string]any)
	text, _ := fields["message"].(string)
	if mail, ok := fields["email"].(map[string]any); ok && text == "" {
		text, _ = mail["subject"].(string)
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > maxPreview {
		text = string(r[:maxPreview-3]) + "..."
	}
	return [][]string{{name, text}}
}

func conditions(name string, value any) [][]string {
	all, _ := value.([]any)
	var out [][]string
	for _, one := range all {
		fields, _ := one.(map[string]any)
		when, _ := fields["when"].(string)
		send, _ := fields["send"].([]any)
		names := make([]string, len(send))
		for i, s := range send {
			names[i] = fmt.Sprint(s)
		}
		out = append(out, []string{name, strings.Join(names, ", "), when})
	}
	if out == nil {
		return [][]string{{name, "", ""}}
	}
	return out
}
