package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // a credential form of kubeconfigs
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// kubeFlags say where the kubeconfig is.
type kubeFlags struct{ kubeconfig, systemNamespace string }

// load reads the kubeconfig as kubectl does.
func (k *kubeFlags) load() (*api.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	cfg, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return cfg, nil
}

// contexts are the rows of the table of contexts.
func contexts(cfg *api.Config) [][]string {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(cfg.Contexts)) {
		c := cfg.Contexts[name]
		server := ""
		if cluster := cfg.Clusters[c.Cluster]; cluster != nil {
			server = cluster.Server
		}
		mark := ""
		if cfg.CurrentContext == name {
			mark = "*"
		}
		rows = append(rows, []string{mark, name, c.Cluster, server})
	}
	return rows
}

// target is a cluster as a context of a kubeconfig reaches it.
type target struct {
	context, userName string
	rest              *rest.Config
	cluster           *api.Cluster
	user              *api.AuthInfo
}

// find makes a target of a context.
func find(cfg *api.Config, name string) (*target, error) {
	c := cfg.Contexts[name]
	if c == nil {
		err := &fail.Error{Code: fail.Failure, Err: fmt.Errorf("Context %s does not exist in kubeconfig", name), Remedy: "kubectl config get-contexts"} //nolint:staticcheck // scripts know the text
		if near := command.Near(name, slices.Collect(maps.Keys(cfg.Contexts))); near != "" {
			err.Err = fmt.Errorf("%w, did you mean %s?", err.Err, near)
		}
		return nil, err
	}
	r, err := clientcmd.NewNonInteractiveClientConfig(*cfg, name, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("context %s of the kubeconfig: %w", name, err)
	}
	r.QPS, r.Timeout = -1, requestTimeout
	user := cfg.AuthInfos[c.AuthInfo]
	if user == nil {
		user = &api.AuthInfo{}
	}
	return &target{context: name, rest: r, cluster: cfg.Clusters[c.Cluster], userName: c.AuthInfo, user: user}, nil
}

// requestTimeout bounds one request to a target.
const requestTimeout = 30 * time.Second

// kube is a client for the target, with the credentials of the kubeconfig.
func (t *target) kube() (kubernetes.Interface, error) {
	if p := t.user.AuthProvider; p != nil && p.Name != "oidc" {
		return nil, fail.New(cmp.Or(providers[p.Name], providers[""]), "context %s: user %q of the kubeconfig logs in with auth-provider %q, which Kubernetes no longer has", t.context, t.userName, p.Name)
	}
	kube, err := kubernetes.NewForConfig(t.rest)
	if err != nil {
		return nil, fmt.Errorf("context %s of the kubeconfig: %w", t.context, err)
	}
	return kube, nil
}

// providers are those that Kubernetes has taken out, and what came instead.
var providers = map[string]string{
	"gcp":   "install gke-gcloud-auth-plugin, and write the user anew: gcloud container clusters get-credentials CLUSTER",
	"azure": "install kubelogin, and change the user: kubelogin convert-kubeconfig",
	"":      "write the user anew with a token, a client certificate or exec",
}

// explained adds to a refusal of the target what is needed there.
func (t *target) explained(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fail.New("use a context whose user may make ServiceAccounts, Secrets, roles and bindings, or have a ServiceAccount made and use --service-account", "context %s: %w", t.context, err)
	case apierrors.IsUnauthorized(err):
		return fail.New("see what kubectl says to it: kubectl --context "+t.context+" auth whoami", "context %s: the cluster does not take the credentials of user %q of the kubeconfig: %w", t.context, t.userName, err)
	}
	return err
}

// tls is the TLS part of a registration: the file of the authority is read, for
// the hub has none of the files of the kubeconfig.
func (t *target) tls() (client.TLSClientConfig, error) {
	in := t.rest.TLSClientConfig
	out := client.TLSClientConfig{Insecure: in.Insecure, ServerName: in.ServerName}
	if in.Insecure {
		return out, nil
	}
	var err error
	out.CAData, err = content(in.CAData, in.CAFile)
	return out, err
}

func content(data []byte, file string) ([]byte, error) {
	if len(data) > 0 || file == "" {
		return data, nil
	}
	raw, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return raw, nil
}

// publicConfig reads the address and authority out of the kubeconfig of the
// ConfigMap cluster-info.
func publicConfig(ctx context.Context, kube kubernetes.Interface) (server string, ca []byte, err error) {
	cm, err := kube.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, "cluster-info", metav1.GetOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
	}
	cfg, err := clientcmd.Load([]byte(cm.Data["kubeconfig"]))
	if err != nil {
		return "", nil, fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
	}
	for _, c := range cfg.Clusters {
		return c.Server, c.CertificateAuthorityData, nil
	}
	return "", nil, errors.New("ConfigMap kube-public/cluster-info names no cluster")
}
