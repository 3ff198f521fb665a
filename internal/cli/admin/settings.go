package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/cli/admin/verify"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// settingsFlags say where settings are read: files, or the hub.
type settingsFlags struct {
	config, secret string
	hub            bool
}

func (v *verbs) settings() *cobra.Command {
	f := &settingsFlags{}
	c := command.Group("settings", "Check settings before they are used", v.validateSettings(f), v.overrides(f),
		command.Group("rbac", "Check policies", v.can(), v.validate()))
	fs := c.PersistentFlags()
	fs.StringVar(&f.config, "argocd-cm-path", "", "file with ConfigMap argocd-cm; default: that of the hub")
	fs.StringVar(&f.secret, "argocd-secret-path", "", "file with Secret argocd-secret; default: that of the hub")
	fs.BoolVar(&f.hub, "load-cluster-settings", false, "read from the hub what no file is named for")
	return c
}

// Names of the objects that hold settings.
const (
	configName = "argocd-cm"
	secretName = "argocd-secret"
)

// loaded are settings that were read.
type loaded struct {
	config map[string]string
	secret map[string][]byte
	// others reads further Secrets; nil where only files count.
	others func(name string) map[string][]byte
}

func (v *verbs) load(ctx context.Context, f *settingsFlags) (*loaded, error) {
	out := &loaded{}
	if err := v.object(f.config, "ConfigMap", func(raw []byte) error {
		var cm corev1.ConfigMap
		err := yaml.Unmarshal(raw, &cm)
		out.config = cm.Data
		return err
	}); err != nil {
		return nil, err
	}
	if err := v.object(f.secret, "Secret", func(raw []byte) error {
		var s corev1.Secret
		err := yaml.Unmarshal(raw, &s)
		out.secret = dataOf(&s)
		return err
	}); err != nil {
		return nil, err
	}
	if (f.config != "" || f.secret != "") && !f.hub {
		return out, nil
	}
	h, err := v.connect()
	if err != nil {
		return nil, err
	}
	if f.config == "" {
		if out.config, err = h.settings(ctx, configName); err != nil {
			return nil, err
		}
	}
	read := func(name string) (*corev1.Secret, error) {
		var s corev1.Secret
		err := h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: name}, &s)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("Secret %s: %w", name, err)
		}
		return &s, nil
	}
	if f.secret == "" {
		s, err := read(secretName)
		if err != nil {
			return nil, err
		}
		out.secret = s.Data
	}
	out.others = func(name string) map[string][]byte {
		if s, err := read(name); err == nil && s.Labels["app.kubernetes.io/part-of"] == "argocd" {
			return s.Data
		}
		return nil
	}
	return out, nil
}

// object reads an object of a kind from a file; no name reads nothing.
func (v *verbs) object(name, kind string, decode func([]byte) error) error {
	if name == "" {
		return nil
	}
	raw, err := v.Dialer.Console.ReadFile(name)
	if err != nil {
		return err
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(raw, &head); err != nil || head.Kind != kind {
		return fail.New("name a file that holds one "+kind, "%s holds no %s", name, kind)
	}
	if err := decode(raw); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// dataOf is the data of a Secret as the API server would store it.
func dataOf(s *corev1.Secret) map[string][]byte {
	out := map[string][]byte{}
	for k, value := range s.Data {
		out[k] = value
	}
	for k, value := range s.StringData {
		out[k] = []byte(value)
	}
	return out
}

// find follows a reference of settings to a Secret (spec/config.md §3).
func (l *loaded) find(secret, key string) (string, bool) {
	data := l.secret
	if secret != "" && secret != secretName {
		data = nil
		if l.others != nil {
			data = l.others(secret)
		}
	}
	value, ok := data[key]
	return strings.TrimSpace(string(value)), ok
}

func (v *verbs) validateSettings(f *settingsFlags) *cobra.Command {
	var groups []string
	names := strings.Join(verify.Names(), ", ")
	c := &cobra.Command{Use: "validate", Short: "Say whether settings can be used, group by group", Args: command.Args(0, 0)}
	c.Flags().StringSliceVar(&groups, "group", nil, "only these groups: "+names+"; may be repeated")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, g := range groups {
			if !slices.Contains(verify.Names(), g) {
				remedy := "--group with one of " + names
				if near := command.Near(g, verify.Names()); near != "" {
					remedy = "--group " + near
				}
				return fail.New(remedy, "--group %q is not known: use %s", g, names)
			}
		}
		l, err := v.load(cmd.Context(), f)
		if err != nil {
			return err
		}
		settings := &verify.Settings{
			Config: l.config, Secret: l.secret, Find: l.find, Script: lua.NewVM().Check,
			Query: func(e string) error { _, err := jq.Compiler{}.Compile(e); return err },
		}
		bad := false
		for _, name := range verify.Names() {
			if len(groups) > 0 && !slices.Contains(groups, name) {
				continue
			}
			r, _ := verify.Group(name, settings)
			bad = bad || len(r.Problems) > 0
			v.report(name, r)
		}
		if bad {
			return fail.Silent(fail.Failure)
		}
		return nil
	}
	return c
}

func (v *verbs) report(name string, r verify.Result) {
	if len(r.Problems) == 0 {
		v.Dialer.Console.Printf("✅ %s\n", name)
	} else {
		v.Dialer.Console.Printf("❌ %s\n", name)
	}
	for _, p := range r.Problems {
		v.Dialer.Console.Printf("%s\n", strings.ReplaceAll(p.Error(), "\n", "; "))
	}
	for _, line := range r.Summary {
		v.Dialer.Console.Printf("%s\n", line)
	}
}
