package repo

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// credentialFlags say how a repository is reached (spec/cli.md §3.2).
type credentialFlags struct {
	kind, name, project, username, password, bearer, ssh, tlsCert, tlsKey              string
	githubKey, githubURL, gcpKey, azureClient, azureSecret, azureTenant, azureEndpoint string
	proxy, noProxy                                                                     string
	insecure, ignoreHostKey, lfs, oci, ociHTTP, azureIdentity, basic, noWarm           bool
	githubApp, githubInstallation, depth                                               int64
}

func (f *credentialFlags) register(fs *pflag.FlagSet, whole bool) {
	fs.StringVar(&f.kind, "type", "git", "git, helm or oci")
	proxy := "proxy-url"
	if whole {
		proxy = "proxy"
		fs.StringVar(&f.name, "name", "", "name of the repository, which helm needs")
		fs.StringVar(&f.project, "project", "", "project that the repository belongs to")
		fs.BoolVar(&f.lfs, "enable-lfs", false, "fetch large files (Git LFS)")
		fs.BoolVar(&f.insecure, "insecure-skip-server-verification", false, "take any certificate or host key of the server")
		fs.BoolVar(&f.ignoreHostKey, "insecure-ignore-host-key", false, "old form of --insecure-skip-server-verification")
		fs.Int64Var(&f.depth, "depth", 0, "commits to fetch; 0 is all of them")
		fs.BoolVar(&f.noWarm, "webhook-manifest-cache-warm-disabled", false, "accepted: renders are cached by content")
	}
	for _, s := range []struct {
		into        *string
		name, usage string
	}{
		{&f.username, "username", "user name"}, {&f.password, "password", "password, asked for when only --username is given"},
		{&f.bearer, "bearer-token", "bearer token, for Git over HTTPS"}, {&f.ssh, "ssh-private-key-path", "file with a private key"},
		{&f.tlsCert, "tls-client-cert-path", "file with a client certificate"}, {&f.tlsKey, "tls-client-cert-key-path", "file with the key of the client certificate"},
		{&f.githubKey, "github-app-private-key-path", "file with the private key of a GitHub App"}, {&f.githubURL, "github-app-enterprise-base-url", "API of a GitHub Enterprise server"},
		{&f.gcpKey, "gcp-service-account-key-path", "file with the key of a service account of Google"},
		{&f.azureClient, "azure-service-principal-client-id", "client id in Azure"}, {&f.azureSecret, "azure-service-principal-client-secret", "client secret in Azure"},
		{&f.azureTenant, "azure-service-principal-tenant-id", "tenant id in Azure"}, {&f.azureEndpoint, "azure-active-directory-endpoint", "address of Azure's directory"},
		{&f.proxy, proxy, "proxy to the repository"}, {&f.noProxy, "no-proxy", "hosts that are reached without the proxy"},
	} {
		fs.StringVar(s.into, s.name, "", s.usage)
	}
	fs.Int64Var(&f.githubApp, "github-app-id", 0, "id of a GitHub App")
	fs.Int64Var(&f.githubInstallation, "github-app-installation-id", 0, "installation of the GitHub App")
	fs.BoolVar(&f.oci, "enable-oci", false, "the Helm repository is an OCI registry")
	fs.BoolVar(&f.ociHTTP, "insecure-oci-force-http", false, "speak HTTP to the OCI registry")
	fs.BoolVar(&f.azureIdentity, "use-azure-workload-identity", false, "get credentials from Azure workload identity")
	fs.BoolVar(&f.basic, "force-http-basic-auth", false, "always send credentials with the first request")
}

// isSSH says that a URL is reached by SSH.
func isSSH(url string) bool {
	if strings.Contains(url, "://") {
		return strings.HasPrefix(url, "ssh://") || strings.HasPrefix(url, "git+ssh://")
	}
	at, colon := strings.Index(url, "@"), strings.Index(url, ":")
	return at >= 0 && colon > at
}

func (f *credentialFlags) check(url string) error {
	https := strings.HasPrefix(url, "https://") || f.kind == "oci" || f.kind == "helm"
	switch {
	case f.kind != "git" && f.kind != "helm" && f.kind != "oci":
		return fail.Fatal("--type %q is not known: use git, helm or oci", f.kind)
	case f.ssh != "" && !isSSH(url):
		return fail.Fatal("--ssh-private-key-path is only supported for SSH repositories.")
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return fail.Fatal("--tls-client-cert-path and --tls-client-cert-key-path must be specified together")
	case f.tlsCert != "" && !https:
		return fail.Fatal("--tls-client-cert-path is only supported for HTTPS repositories")
	case f.bearer != "" && f.password != "":
		return fail.Fatal("only --bearer-token or --password can be used, not both")
	case f.bearer != "" && (!strings.HasPrefix(url, "https://") || f.kind != "git"):
		return fail.Fatal("--bearer-token is only supported for HTTPS Git repositories")
	case (f.githubKey == "") != (f.githubApp == 0):
		return fail.Fatal("--github-app-id and --github-app-private-key-path must be specified together")
	}
	return nil
}

// secrets reads what flags name by file, and asks for a password.
func (f *credentialFlags) secrets(c *console.Console) (map[string]string, error) {
	out := map[string]string{}
	for flag, name := range map[string]string{
		"ssh": f.ssh, "cert": f.tlsCert, "key": f.tlsKey, "github": f.githubKey, "gcp": f.gcpKey,
	} {
		if name == "" {
			continue
		}
		raw, err := c.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out[flag] = string(raw)
	}
	if f.username != "" && f.password == "" && f.bearer == "" {
		password, err := c.AskSecret("Password: ")
		if err != nil {
			return nil, fmt.Errorf("--password is missing: %w", err)
		}
		f.password = password
	}
	return out, nil
}

func (f *credentialFlags) repository(c *console.Console, url string) (*client.Repository, error) {
	if err := f.check(url); err != nil {
		return nil, err
	}
	if f.kind == "helm" && f.name == "" {
		return nil, fail.Fatal("Must specify --name for repos of type 'helm'")
	}
	files, err := f.secrets(c)
	if err != nil {
		return nil, err
	}
	return &client.Repository{
		Repo: url, Type: f.kind, Name: f.name, Project: f.project, Username: f.username, Password: f.password, BearerToken: f.bearer,
		SSHPrivateKey: files["ssh"], TLSClientCertData: files["cert"], TLSClientCertKey: files["key"], Insecure: f.insecure || f.ignoreHostKey,
		EnableLFS: f.lfs, EnableOCI: f.oci, InsecureOCIForceHTTP: f.ociHTTP, GithubAppPrivateKey: files["github"], GithubAppID: f.githubApp,
		GithubAppInstallationID: f.githubInstallation, GithubAppEnterpriseBaseURL: f.githubURL, GCPServiceAccountKey: files["gcp"], Proxy: f.proxy,
		NoProxy: f.noProxy, ForceHTTPBasicAuth: f.basic, UseAzureWorkloadIdentity: f.azureIdentity, AzureClientID: f.azureClient,
		AzureClientSecret: f.azureSecret, AzureTenantID: f.azureTenant, AzureEndpoint: f.azureEndpoint, Depth: f.depth,
	}, nil
}

func (f *credentialFlags) template(c *console.Console, url string) (*client.RepoCreds, error) {
	if err := f.check(url); err != nil {
		return nil, err
	}
	files, err := f.secrets(c)
	if err != nil {
		return nil, err
	}
	return &client.RepoCreds{
		URL: url, Type: f.kind, Username: f.username, Password: f.password, BearerToken: f.bearer, SSHPrivateKey: files["ssh"],
		TLSClientCertData: files["cert"], TLSClientCertKey: files["key"], GithubAppPrivateKey: files["github"], GithubAppID: f.githubApp,
		GithubAppInstallationID: f.githubInstallation, GithubAppEnterpriseBaseURL: f.githubURL, EnableOCI: f.oci, InsecureOCIForceHTTP: f.ociHTTP,
		GCPServiceAccountKey: files["gcp"], Proxy: f.proxy, NoProxy: f.noProxy, ForceHTTPBasicAuth: f.basic,
		UseAzureWorkloadIdentity: f.azureIdentity, AzureClientID: f.azureClient, AzureClientSecret: f.azureSecret, AzureTenantID: f.azureTenant, AzureEndpoint: f.azureEndpoint,
	}, nil
}
