package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

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
	context string
	rest    *rest.Config
	cluster *api.Cluster
	user    *api.AuthInfo
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
	r.QPS = -1
	user := cfg.AuthInfos[c.AuthInfo]
	if user == nil {
		user = &api.AuthInfo{}
	}
	return &target{context: name, rest: r, cluster: cfg.Clusters[c.Cluster], user: user}, nil
}

// tls is the TLS part of a registration: files of the kubeconfig are read, for
// the hub has none of them.
func (t *target) tls(withClientCert bool) (client.TLSClientConfig, error) {
	in := t.rest.TLSClientConfig
	out := client.TLSClientConfig{Insecure: in.Insecure, ServerName: in.ServerName}
	var err error
	if !in.Insecure {
		if out.CAData, err = content(in.CAData, in.CAFile); err != nil {
			return out, err
		}
	}
	if !withClientCert {
		return out, nil
	}
	if out.CertData, err = content(in.CertData, in.CertFile); err != nil {
		return out, err
	}
	out.KeyData, err = content(in.KeyData, in.KeyFile)
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
func publicConfig(text string) (server string, ca []byte, err error) {
	cfg, err := clientcmd.Load([]byte(text))
	if err != nil {
		return "", nil, fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err)
	}
	for _, c := range cfg.Clusters {
		return c.Server, c.CertificateAuthorityData, nil
	}
	return "", nil, errors.New("ConfigMap kube-public/cluster-info names no cluster")
}
