package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/cli/admin/backup"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// namespaceFlags say where Applications and ApplicationSets are besides the
// control plane's namespace.
type namespaceFlags struct{ apps, sets []string }

func (n *namespaceFlags) register(c *cobra.Command) {
	c.Flags().StringSliceVar(&n.apps, "application-namespaces", nil, "further namespaces, or globs, that hold Applications; default: those of argocd-cmd-params-cm")
	c.Flags().StringSliceVar(&n.sets, "applicationset-namespaces", nil, "further namespaces, or globs, that hold ApplicationSets; default: those of argocd-cmd-params-cm")
}

// paramsName is the config map that names namespaces.
const paramsName = "argocd-cmd-params-cm"

// scope reads from the hub what the flags do not say.
func (h *hub) scope(ctx context.Context, n namespaceFlags) (backup.Scope, error) {
	params, err := h.settings(ctx, paramsName)
	if err != nil {
		return backup.Scope{}, err
	}
	return backup.NewScope(h.namespace, n.apps, n.sets, params)
}

// settings are the data of a config map; none is empty.
func (h *hub) settings(ctx context.Context, name string) (map[string]string, error) {
	var cm corev1.ConfigMap
	err := h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: name}, &cm)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ConfigMap %s: %w", name, err)
	}
	return cm.Data, nil
}

// everything lists what a backup holds, in order.
func (h *hub) everything(ctx context.Context, s backup.Scope) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, kind := range backup.Order {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		var in []client.ListOption
		if !s.Spread(kind) {
			in = append(in, client.InNamespace(h.namespace))
		}
		if err := h.client.List(ctx, list, in...); meta.IsNoMatchError(err) {
			return nil, fail.New("run: sluice install", "this cluster is no hub yet: it does not know the kind %s", kind.Kind)
		} else if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.Kind, err)
		}
		for i := range list.Items {
			if o := &list.Items[i]; backup.Belongs(o) && s.Holds(kind, o.GetNamespace()) {
				out = append(out, *o)
			}
		}
	}
	out, err := h.named(ctx, out)
	slices.SortStableFunc(out, func(a, b unstructured.Unstructured) int {
		return cmp.Or(slices.Index(backup.Order, a.GroupVersionKind())-slices.Index(backup.Order, b.GroupVersionKind()),
			strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return out, err
}

// named adds the Secrets and config maps that ApplicationSets name; those that do
// not exist are missing on this hub too.
func (h *hub) named(ctx context.Context, all []unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	known := map[backup.ID]bool{}
	var names []backup.ID
	for i := range all {
		known[backup.IDOf(&all[i], h.namespace)] = true
		names = append(names, backup.References(&all[i], h.namespace)...)
	}
	for len(names) > 0 {
		id := names[0]
		names = names[1:]
		if known[id] {
			continue
		}
		known[id] = true
		o := unstructured.Unstructured{}
		o.SetGroupVersionKind(id.Kind)
		err := h.client.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, &o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s, which an ApplicationSet names: %w", id, err)
		}
		all = append(all, o)
		if id.Kind == backup.ConfigMap {
			names = append(names, backup.Tokens(&o, h.namespace)...)
		}
	}
	return all, nil
}

func (v *verbs) export() *cobra.Command {
	var out string
	n := namespaceFlags{}
	c := &cobra.Command{Use: "export", Short: "Write settings, projects, Applications and ApplicationSets as one stream of YAML, with their secrets", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&out, "out", "o", "-", "file to write, - is the output")
	n.register(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		h, err := v.connect()
		if err != nil {
			return err
		}
		s, err := h.scope(cmd.Context(), n)
		if err != nil {
			return err
		}
		all, err := h.everything(cmd.Context(), s)
		if err != nil {
			return err
		}
		write := func(w io.Writer) error { return backup.Write(w, all, h.namespace) }
		if out == "-" {
			return write(v.Dialer.Console.Out)
		}
		return console.Replace(out, 0o600, write) // it holds every credential of the hub
	}
	return c
}
