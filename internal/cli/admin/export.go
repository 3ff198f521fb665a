package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
)

// Kinds of what is exported, in the order in which they are restored.
var (
	configMaps = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	secrets    = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	projects   = v1alpha1.GroupVersion.WithKind(v1alpha1.AppProjectKind)
	apps       = v1alpha1.GroupVersion.WithKind(v1alpha1.ApplicationKind)
	sets       = v1alpha1.GroupVersion.WithKind(v1alpha1.ApplicationSetKind)
	order      = []schema.GroupVersionKind{configMaps, secrets, projects, apps, sets}
)

// exportedMaps are the config maps that hold settings (spec/cli.md §6).
var exportedMaps = []string{"argocd-cm", "argocd-rbac-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm", "argocd-gpg-keys-cm", "argocd-notifications-cm", "argocd-cmd-params-cm"}

// exportedSecrets are Secrets that belong to the product by name; others do by
// their label.
var exportedSecrets = []string{"argocd-secret", "argocd-notifications-secret"}

// scope says which namespaces besides the control plane count.
type scope struct{ apps, sets []string }

// matches says whether objects of a kind in a namespace count.
func (s scope) matches(kind schema.GroupVersionKind, namespace, controlPlane string) bool {
	if namespace == controlPlane {
		return true
	}
	patterns := s.apps
	switch kind {
	case sets:
		patterns = s.sets
	case apps:
	default:
		return false
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		g, err := glob.Compile(p)
		return err == nil && g.Match(namespace)
	})
}

// belongs says whether a config map or Secret is part of the product.
func belongs(o *unstructured.Unstructured) bool {
	switch o.GroupVersionKind() {
	case configMaps:
		return slices.Contains(exportedMaps, o.GetName())
	case secrets:
		return slices.Contains(exportedSecrets, o.GetName()) || o.GetLabels()[v1alpha1.LabelSecretType] != ""
	}
	return true
}

// everything lists what is exported, in order.
func (h *hub) everything(ctx context.Context, s scope) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, kind := range order {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		var in []client.ListOption
		if (kind != apps || len(s.apps) == 0) && (kind != sets || len(s.sets) == 0) {
			in = append(in, client.InNamespace(h.namespace))
		}
		if err := h.client.List(ctx, list, in...); err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Kind, err)
		}
		slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
			return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
		})
		for i := range list.Items {
			if o := &list.Items[i]; belongs(o) && s.matches(kind, o.GetNamespace(), h.namespace) {
				out = append(out, *o)
			}
		}
	}
	return out, nil
}

// lastApplied is what kubectl writes for itself.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// bare keeps of an object what another hub needs: status too, since history and
// the state of rollouts are there.
func bare(o *unstructured.Unstructured, controlPlane string) *unstructured.Unstructured {
	out := o.DeepCopy()
	meta := map[string]any{"name": o.GetName()}
	if ns := o.GetNamespace(); ns != controlPlane && ns != "" {
		meta["namespace"] = ns
	}
	old, _, _ := unstructured.NestedMap(o.Object, "metadata")
	for _, field := range []string{"labels", "annotations", "finalizers"} {
		if v, ok := old[field]; ok {
			meta[field] = v
		}
	}
	if notes, ok := meta["annotations"].(map[string]any); ok {
		delete(notes, lastApplied)
		if len(notes) == 0 {
			delete(meta, "annotations")
		}
	}
	out.Object["metadata"] = meta
	return out
}

func (s *scope) register(c *cobra.Command) {
	c.Flags().StringSliceVar(&s.apps, "application-namespaces", nil, "further namespaces, or globs, that hold Applications")
	c.Flags().StringSliceVar(&s.sets, "applicationset-namespaces", nil, "further namespaces, or globs, that hold ApplicationSets")
}

func (v *verbs) export() *cobra.Command {
	var out string
	s := scope{}
	c := &cobra.Command{Use: "export", Short: "Write settings, projects, Applications and ApplicationSets as one stream of YAML, with their secrets", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&out, "out", "o", "-", "file to write, - is the output")
	s.register(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		h, err := v.connect()
		if err != nil {
			return err
		}
		all, err := h.everything(cmd.Context(), s)
		if err != nil {
			return err
		}
		if out == "-" {
			return write(v.Dialer.Console.Out, all, h.namespace)
		}
		// The file holds every credential of the hub.
		f, err := os.OpenFile(filepath.Clean(out), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if err := write(f, all, h.namespace); err != nil {
			_ = f.Close() // the first error counts
			return err
		}
		return f.Close()
	}
	return c
}

func write(w io.Writer, all []unstructured.Unstructured, controlPlane string) error {
	for i := range all {
		raw, err := yaml.Marshal(bare(&all[i], controlPlane).Object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", all[i].GetKind(), all[i].GetName(), err)
		}
		if i > 0 {
			raw = append([]byte("---\n"), raw...)
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}
