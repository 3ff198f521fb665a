// Package admin holds the commands that talk to Kubernetes directly, for those
// who run the hub (spec/cli.md §6): nobody is asked but the kubeconfig's rights.
//
//   - admin.go: connection, first password; cluster.go: figures about clusters
//   - export.go, import.go: everything as one stream of YAML, and back
//   - rbac.go: what policies permit
package admin

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// Options are what the program gives the group besides the connection.
type Options struct {
	Dialer *connect.Dialer
	// Dashboard serves the API and the UI on an address until ctx ends, and says
	// when it is ready; nil where this program has no server.
	Dashboard func(ctx context.Context, address string, ready func(url string)) error
}

type verbs struct {
	Options
	kube kube
}

// Command is the group.
func Command(o Options) *cobra.Command {
	v := &verbs{Options: o}
	c := command.Group("admin", "Commands for those who run the hub: they talk to Kubernetes directly",
		v.initialPassword(), v.export(), v.restore(), v.dashboard(),
		command.Group("cluster", "Figures about clusters", v.clusterStats()),
		command.Group("settings", "Check settings before they are used",
			command.Group("rbac", "Check policies", v.can(), v.validate())),
	)
	v.kube.register(c.PersistentFlags())
	return c
}

// kube is the connection to Kubernetes.
type kube struct {
	kubeconfig, namespace string
	overrides             clientcmd.ConfigOverrides
}

func (k *kube) register(fs *pflag.FlagSet) {
	fs.StringVar(&k.kubeconfig, "kubeconfig", "", "path to a kubeconfig")
	fs.StringVarP(&k.namespace, "namespace", "n", "", "namespace of the control plane; default: that of the context")
	for _, s := range []struct {
		into        *string
		name, usage string
	}{
		{&k.overrides.CurrentContext, "context", "context of the kubeconfig"}, {&k.overrides.Context.Cluster, "cluster", "cluster of the kubeconfig"},
		{&k.overrides.Context.AuthInfo, "user", "user of the kubeconfig"}, {&k.overrides.AuthInfo.Token, "token", "bearer token"},
		{&k.overrides.Timeout, "request-timeout", "time that a request may take"}, {&k.overrides.ClusterInfo.ProxyURL, "proxy-url", "proxy to Kubernetes"},
	} {
		fs.StringVar(s.into, s.name, "", s.usage)
	}
	fs.BoolVar(&k.overrides.ClusterInfo.InsecureSkipTLSVerify, "insecure-skip-tls-verify", false, "take any certificate of Kubernetes")
}

// hub is the control plane.
type hub struct {
	client    client.Client
	namespace string
}

func (v *verbs) connect() (*hub, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = v.kube.kubeconfig
	overrides := v.kube.overrides
	if overrides.CurrentContext == "" {
		overrides.CurrentContext = v.Dialer.KubeContext
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides)
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, fail.New("give --kubeconfig, or set KUBECONFIG", "no Kubernetes: %w", err)
	}
	cfg.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to Kubernetes: %w", err)
	}
	ns := v.kube.namespace
	if ns == "" {
		raw, err := loader.RawConfig()
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		ns = contextNamespace(&raw, overrides.CurrentContext)
	}
	return &hub{client: c, namespace: ns}, nil
}

// contextNamespace is the namespace of a context; one without is taken for the
// usual one of a control plane, since nobody runs one in default
// (spec/cli.md §1.5 calls that the classic stumbling block).
func contextNamespace(raw *api.Config, name string) string {
	if name == "" {
		name = raw.CurrentContext
	}
	if c := raw.Contexts[name]; c != nil && c.Namespace != "" {
		return c.Namespace
	}
	return "argocd"
}

const initialSecret = "argocd-initial-admin-secret"

func (v *verbs) initialPassword() *cobra.Command {
	return &cobra.Command{
		Use: "initial-password", Short: "Print the first password of the account admin", Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := v.connect()
			if err != nil {
				return err
			}
			var s corev1.Secret
			err = h.client.Get(cmd.Context(), client.ObjectKey{Namespace: h.namespace, Name: initialSecret}, &s)
			if apierrors.IsNotFound(err) {
				return fail.New("when it was deleted after a password was set, that is as it should be; else name the namespace with -n",
					"there is no Secret %s in namespace %s", initialSecret, h.namespace)
			}
			if err != nil {
				return fmt.Errorf("Secret %s: %w", initialSecret, err)
			}
			password := s.Data["password"]
			if len(password) == 0 {
				return fail.New("", "Secret %s/%s has no key password", h.namespace, initialSecret)
			}
			v.Dialer.Console.Printf("%s\n\n This password must be only used for first time login. We strongly recommend you update the password using `%s account update-password`.\n",
				password, v.Dialer.Console.Name)
			return nil
		},
	}
}

func (v *verbs) dashboard() *cobra.Command {
	var address string
	var port int
	c := &cobra.Command{Use: "dashboard", Short: "Serve API and UI on this machine, with the rights of the kubeconfig", Args: command.Args(0, 0)}
	c.Flags().StringVar(&address, "address", "localhost", "address to listen on")
	c.Flags().IntVar(&port, "port", 8080, "port to listen on")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if v.Dashboard == nil {
			return fail.Fatal("this program was built without a server")
		}
		d := v.Dialer
		d.KubeContext = cmp.Or(v.kube.overrides.CurrentContext, d.KubeContext)
		d.Kubeconfig, d.KubeNamespace = v.kube.kubeconfig, v.kube.namespace
		return v.Dashboard(cmd.Context(), net.JoinHostPort(address, strconv.Itoa(port)), func(url string) {
			v.Dialer.Console.Printf("Argo CD UI is available at %s\n", url)
		})
	}
	return c
}
