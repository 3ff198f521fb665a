package registration

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/client-go/tools/clientcmd/api"
)

// execVersion is what argocd-k8s-auth prints.
const execVersion = "client.authentication.k8s.io/v1beta1"

// Kubeconfig says to kubectl how the hub reaches the cluster, with its
// credentials.
func (c *Cluster) Kubeconfig() (*api.Config, error) {
	tls := c.Config.TLSClientConfig
	if tls.Insecure && len(tls.CAData) > 0 {
		return nil, fmt.Errorf("cluster %s: insecure and caData exclude one another", c.Name)
	}
	user := &api.AuthInfo{
		Username: c.Config.Username, Password: c.Config.Password, Token: c.Config.BearerToken, ClientCertificateData: tls.CertData, ClientKeyData: tls.KeyData,
	}
	if user.Exec = c.Config.program(); user.Exec != nil {
		user.Exec.InteractiveMode = api.NeverExecInteractiveMode
		user.Username, user.Password, user.Token = "", "", ""
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

// program gives credentials; nil is none. That of AWS comes first.
func (c *Config) program() *api.ExecConfig {
	if a := c.AWSAuthConfig; a != nil {
		args := []string{"aws", "--cluster-name", a.ClusterName}
		if a.RoleARN != "" {
			args = append(args, "--role-arn", a.RoleARN)
		}
		if a.Profile != "" {
			args = append(args, "--profile", a.Profile)
		}
		return &api.ExecConfig{Command: "argocd-k8s-auth", Args: args, APIVersion: execVersion}
	}
	p := c.ExecProviderConfig
	if p == nil {
		return nil
	}
	out := &api.ExecConfig{Command: p.Command, Args: p.Args, APIVersion: p.APIVersion, InstallHint: p.InstallHint}
	if out.APIVersion == "" {
		out.APIVersion = execVersion
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		out.Env = append(out.Env, api.ExecEnvVar{Name: name, Value: p.Env[name]})
	}
	return out
}
