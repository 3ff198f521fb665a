package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/sso"
)

// direct reads objects of a hub one by one, for a command that ends soon.
type direct struct {
	ctx       context.Context //nolint:containedctx // the life of the command
	client    client.Client
	namespace string
}

// Secret reads a Secret.
func (d direct) Secret(name string) (*corev1.Secret, bool) {
	s := &corev1.Secret{}
	return s, d.client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, s) == nil
}

// ConfigMap reads a config map.
func (d direct) ConfigMap(name string) (*corev1.ConfigMap, bool) {
	m := &corev1.ConfigMap{}
	return m, d.client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, m) == nil
}

// Project knows none: Dex needs none.
func (direct) Project(string) (*v1alpha1.AppProject, bool) { return nil, false }

// dexConfigCommand writes the configuration of the Dex beside the server
// (spec/config.md §7, dex wrapper).
func dexConfigCommand() *cobra.Command {
	f, options, out := &hubFlags{}, sso.DexOptions{}, ""
	c := &cobra.Command{Use: "gendexcfg", Short: "Write the configuration of the Dex that runs beside the server", Args: cobra.NoArgs,
		Long: "Write the configuration of the Dex that runs beside the server. Start that Dex with DEX_EXPAND_ENV=false in its environment:\n" +
			"otherwise it takes dollars in secrets for variables."}
	f.register(c.Flags())
	c.Flags().StringVarP(&out, "out", "o", "", "file to write, readable by its owner only; default: standard output")
	c.Flags().BoolVar(&options.Plain, "disable-tls", false, "let Dex serve without TLS")
	c.Flags().StringVar(&options.LogLevel, "loglevel", "", "log level of Dex")
	c.Flags().StringVar(&options.LogFormat, "logformat", "", "log format of Dex")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.config()
		if err != nil {
			return err
		}
		hub := direct{ctx: cmd.Context(), namespace: f.namespace}
		if hub.client, err = client.New(cfg, client.Options{}); err != nil {
			return fmt.Errorf("connect to the hub: %w", err)
		}
		m, ok := hub.ConfigMap(account.ConfigMapName)
		secret, known := hub.Secret(account.SecretName)
		if !ok || !known {
			return fmt.Errorf("namespace %s lacks ConfigMap %s or Secret %s: run sluice install, and start the server once", f.namespace, account.ConfigMapName, account.SecretName)
		}
		raw, err := sso.RenderDex(m.Data, identity.Lookup(hub), repo.Secret(secret.Data["server.secretkey"]), options)
		if err != nil {
			return err
		}
		if out == "" {
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		}
		return os.WriteFile(out, raw, 0o600)
	}
	return c
}
