package registration

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// execVersion is what programs that say nothing else print.
const execVersion = "client.authentication.k8s.io/v1beta1"

// Kubeconfig says to kubectl how the hub reaches the cluster, with its
// credentials.
func (c *Cluster) Kubeconfig() (*api.Config, error) {
	tls := c.Config.TLSClientConfig
	if tls.Contradicts() {
		return nil, fmt.Errorf("cluster %s: insecure and caData exclude one another", c.Name)
	}
	user := &api.AuthInfo{ClientCertificateData: tls.CertData, ClientKeyData: tls.KeyData}
	if p := c.Config.Program(); p != nil {
		user.Exec = program(p)
	} else {
		user.Username, user.Password, user.Token = c.Config.Username, c.Config.Password, c.Config.BearerToken
	}
	out := api.NewConfig()
	out.Clusters[c.Name] = &api.Cluster{
		Server: c.Server, TLSServerName: tls.ServerName, InsecureSkipTLSVerify: tls.Insecure, CertificateAuthorityData: tls.CAData, ProxyURL: c.Config.ProxyURL,
		DisableCompression: c.Config.DisableCompression,
	}
	out.AuthInfos[c.Name] = user
	out.Contexts[c.Name] = &api.Context{Cluster: c.Name, AuthInfo: c.Name}
	out.CurrentContext = c.Name
	return out, nil
}

func program(p *destination.Program) *api.ExecConfig {
	out := &api.ExecConfig{
		Command: p.Command, Args: p.Args, APIVersion: p.APIVersion, InstallHint: p.InstallHint, InteractiveMode: api.NeverExecInteractiveMode,
		ProvideClusterInfo: p.ProvideClusterInfo,
	}
	if out.APIVersion == "" {
		out.APIVersion = execVersion
	}
	if len(p.Config) > 0 {
		out.Config = &runtime.Unknown{Raw: p.Config, ContentType: runtime.ContentTypeJSON}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		out.Env = append(out.Env, api.ExecEnvVar{Name: name, Value: p.Env[name]})
	}
	return out
}
