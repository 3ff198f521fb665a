package connect

import (
	"cmp"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Kube is the connection to Kubernetes, for commands that have the flags of
// kubectl (spec/cli.md §1.2): core mode, port-forwards and the group admin use it.
type Kube struct {
	// Path of a kubeconfig; empty is what kubectl would take.
	Path string
	// Overrides are what flags say instead of the kubeconfig.
	Overrides clientcmd.ConfigOverrides
}

// Register adds the flags of kubectl, apart from --server, which is another one
// here; those that exist already are left out.
func (k *Kube) Register(fs *pflag.FlagSet, hidden bool) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	all.StringVar(&k.Path, "kubeconfig", "", "path to a kubeconfig")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ClusterOverrideFlags.APIServer.LongName = ""
	names.ContextOverrideFlags.Namespace.Description = "namespace of the control plane; default: that of the context"
	clientcmd.BindOverrideFlags(&k.Overrides, all, names)
	all.VisitAll(func(f *pflag.Flag) {
		if fs.Lookup(f.Name) == nil {
			f.Hidden = hidden
			fs.AddFlag(f)
		}
	})
}

// Config is the connection that flags and kubeconfig describe, and the namespace
// of the control plane; otherwise is the context where no flag of kubectl names
// one, empty the current one.
func (k *Kube) Config(otherwise string) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.Path
	overrides := k.Overrides
	overrides.CurrentContext = cmp.Or(overrides.CurrentContext, otherwise)
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides)
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("no Kubernetes: %w", err)
	}
	cfg.QPS = -1
	if overrides.Context.Namespace != "" {
		return cfg, overrides.Context.Namespace, nil
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	return cfg, contextNamespace(&raw, overrides.CurrentContext), nil
}

// contextNamespace is the namespace of a context; one without is taken for the
// usual one of a control plane, since nobody runs one in default
// (spec/cli.md §1.5 calls that the classic stumbling block).
func contextNamespace(raw *api.Config, name string) string {
	if c := raw.Contexts[cmp.Or(name, raw.CurrentContext)]; c != nil && c.Namespace != "" {
		return c.Namespace
	}
	return "argocd"
}
