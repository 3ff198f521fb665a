package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-cd/sluice/internal/controller/hub"
)

// hubFlags say where the hub is.
type hubFlags struct {
	kubeconfig, context, namespace string
}

func (f *hubFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the hub; default: $KUBECONFIG, ~/.kube/config, or the pod's service account")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVarP(&f.namespace, "namespace", "n", "argocd", "namespace of the control plane")
}

func (f *hubFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context})
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no hub: give --kubeconfig or run inside a cluster: %w", err)
	}
	return cfg, nil
}

func installCommand() *cobra.Command {
	f := &hubFlags{}
	c := &cobra.Command{Use: "install", Short: "Install what Sluice needs on the hub", Args: cobra.NoArgs}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.config()
		if err != nil {
			return err
		}
		return hub.Install(cmd.Context(), cfg, f.namespace, func(line string) { fmt.Fprintln(cmd.OutOrStdout(), line) })
	}
	return c
}
