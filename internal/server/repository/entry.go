package repository

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// Given is a repository or a template as a request describes it.
type Given struct {
	Repo                              string `json:"repo,omitempty"`
	URL                               string `json:"url,omitempty"`
	Type                              string `json:"type,omitempty" query:"type"`
	Name                              string `json:"name,omitempty" query:"name"`
	Project                           string `json:"project,omitempty" query:"project"`
	Username                          string `json:"username,omitempty" query:"username"`
	Password                          string `json:"password,omitempty" query:"password"`
	BearerToken                       string `json:"bearerToken,omitempty" query:"bearerToken"`
	SSHPrivateKey                     string `json:"sshPrivateKey,omitempty" query:"sshPrivateKey"`
	Insecure                          bool   `json:"insecure,omitempty" query:"insecure"`
	InsecureIgnoreHostKey             bool   `json:"insecureIgnoreHostKey,omitempty"`
	EnableLFS                         bool   `json:"enableLfs,omitempty"`
	EnableOCI                         bool   `json:"enableOCI,omitempty" query:"enableOci"`
	InsecureOCIForceHTTP              bool   `json:"insecureOCIForceHttp,omitempty" query:"insecureOciForceHttp"`
	TLSClientCertData                 string `json:"tlsClientCertData,omitempty" query:"tlsClientCertData"`
	TLSClientCertKey                  string `json:"tlsClientCertKey,omitempty" query:"tlsClientCertKey"`
	GitHubAppPrivateKey               string `json:"githubAppPrivateKey,omitempty" query:"githubAppPrivateKey"`
	GitHubAppID                       int64  `json:"githubAppID,omitempty" query:"githubAppID"`
	GitHubAppInstallationID           int64  `json:"githubAppInstallationID,omitempty" query:"githubAppInstallationID"`
	GitHubAppEnterpriseBaseURL        string `json:"githubAppEnterpriseBaseUrl,omitempty" query:"githubAppEnterpriseBaseUrl"`
	Proxy                             string `json:"proxy,omitempty" query:"proxy"`
	NoProxy                           string `json:"noProxy,omitempty"`
	GCPServiceAccountKey              string `json:"gcpServiceAccountKey,omitempty" query:"gcpServiceAccountKey"`
	ForceHTTPBasicAuth                bool   `json:"forceHttpBasicAuth,omitempty" query:"forceHttpBasicAuth"`
	UseAzureWorkloadIdentity          bool   `json:"useAzureWorkloadIdentity,omitempty" query:"useAzureWorkloadIdentity"`
	AzureServicePrincipalClientID     string `json:"azureServicePrincipalClientId,omitempty" query:"azureServicePrincipalClientId"`
	AzureServicePrincipalClientSecret string `json:"azureServicePrincipalClientSecret,omitempty" query:"azureServicePrincipalClientSecret"`
	AzureServicePrincipalTenantID     string `json:"azureServicePrincipalTenantId,omitempty" query:"azureServicePrincipalTenantId"`
	AzureActiveDirectoryEndpoint      string `json:"azureActiveDirectoryEndpoint,omitempty" query:"azureActiveDirectoryEndpoint"`
	Depth                             int64  `json:"depth,omitempty"`
	WebhookManifestCacheWarmDisabled  bool   `json:"webhookManifestCacheWarmDisabled,omitempty"`
}

// Repository is a repository as answers show it.
type Repository struct {
	Repo                             string          `json:"repo"`
	ConnectionState                  ConnectionState `json:"connectionState"`
	Type                             string          `json:"type,omitempty"`
	Name                             string          `json:"name,omitempty"`
	Project                          string          `json:"project,omitempty"`
	Insecure                         bool            `json:"insecure,omitempty"`
	EnableLFS                        bool            `json:"enableLfs,omitempty"`
	EnableOCI                        bool            `json:"enableOCI,omitempty"`
	InsecureOCIForceHTTP             bool            `json:"insecureOCIForceHttp,omitempty"`
	InheritedCreds                   bool            `json:"inheritedCreds,omitempty"`
	GitHubAppID                      int64           `json:"githubAppID,omitempty"`
	GitHubAppInstallationID          int64           `json:"githubAppInstallationID,omitempty"`
	GitHubAppEnterpriseBaseURL       string          `json:"githubAppEnterpriseBaseUrl,omitempty"`
	Proxy                            string          `json:"proxy,omitempty"`
	NoProxy                          string          `json:"noProxy,omitempty"`
	ForceHTTPBasicAuth               bool            `json:"forceHttpBasicAuth,omitempty"`
	UseAzureWorkloadIdentity         bool            `json:"useAzureWorkloadIdentity,omitempty"`
	AzureServicePrincipalClientID    string          `json:"azureServicePrincipalClientId,omitempty"`
	AzureServicePrincipalTenantID    string          `json:"azureServicePrincipalTenantId,omitempty"`
	AzureActiveDirectoryEndpoint     string          `json:"azureActiveDirectoryEndpoint,omitempty"`
	Depth                            int64           `json:"depth,omitempty"`
	WebhookManifestCacheWarmDisabled bool            `json:"webhookManifestCacheWarmDisabled,omitempty"`
}

// List is an answer with many repositories.
type List struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []Repository    `json:"items"`
}

// Creds is a template as answers show it: where it applies, and nothing else.
type Creds struct {
	URL string `json:"url"`
}

// CredsList is an answer with many templates.
type CredsList struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []Creds         `json:"items"`
}

// Object names a repository in policies.
func Object(project, url string) string {
	if project == "" {
		return url
	}
	return project + "/" + url
}

func text(s *corev1.Secret, keys ...string) string {
	for _, key := range keys {
		if v := strings.TrimSpace(string(s.Data[key])); v != "" {
			return v
		}
	}
	return ""
}

func number(s *corev1.Secret, key string) int64 {
	n, err := strconv.ParseInt(text(s, key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func flag(s *corev1.Secret, key string) bool {
	b, err := strconv.ParseBool(text(s, key))
	return err == nil && b
}

// shown builds the answer field by field. URLs lose what stands before an @ when
// it could be a credential.
func shown(s *corev1.Secret) Repository {
	kind := text(s, "type")
	if kind == "" {
		kind = "git"
	}
	return Repository{
		Repo: repo.Redact(text(s, "url")), Type: kind, Name: text(s, "name"), Project: text(s, "project"),
		Insecure: flag(s, "insecure") || flag(s, "insecureIgnoreHostKey"), EnableLFS: flag(s, "enableLfs"), EnableOCI: flag(s, "enableOCI"),
		InsecureOCIForceHTTP: flag(s, "insecureOCIForceHttp"), GitHubAppID: number(s, "githubAppID"), GitHubAppInstallationID: number(s, "githubAppInstallationID"),
		GitHubAppEnterpriseBaseURL: repo.Redact(text(s, "githubAppEnterpriseBaseUrl")), Proxy: repo.Redact(text(s, "proxy")), NoProxy: text(s, "noProxy"),
		ForceHTTPBasicAuth: flag(s, "forceHttpBasicAuth"), UseAzureWorkloadIdentity: flag(s, "useAzureWorkloadIdentity"),
		AzureServicePrincipalClientID: text(s, "azureServicePrincipalClientId", "azureServicePrincipalClientID"),
		AzureServicePrincipalTenantID: text(s, "azureServicePrincipalTenantId", "azureServicePrincipalTenantID"),
		AzureActiveDirectoryEndpoint:  repo.Redact(text(s, "azureActiveDirectoryEndpoint")), Depth: number(s, "depth"),
		WebhookManifestCacheWarmDisabled: flag(s, "webhookManifestCacheWarmDisabled"), ConnectionState: ConnectionState{Status: "Unknown"},
	}
}

// own are the entries of a Secret that say by themselves who asks; without them
// a template does (spec/config.md §6.3).
var own = []string{
	"username", "password", "bearerToken", "sshPrivateKey", "tlsClientCertData", "githubAppPrivateKey", "azureServicePrincipalClientSecret",
}

// shown is a declaration as answers show it, with whether a template lends its
// credentials.
func (s *Service) shown(f family, secret *corev1.Secret) Repository {
	r := shown(secret)
	has := func(key string) bool { return text(secret, key) != "" }
	r.InheritedCreds = f.templates != "" && !slices.ContainsFunc(own, has) && !r.UseAzureWorkloadIdentity && s.template(f.templates, text(secret, "url")) != nil
	return r
}

// same says that a Secret declares what is given, so that declaring it again
// changes nothing.
func (g *Given) same(old *corev1.Secret) bool {
	for key, value := range g.values() {
		have := string(old.Data[key])
		if key == "type" {
			have, value = cmp.Or(have, "git"), cmp.Or(value, "git")
		}
		if have != value {
			return false
		}
	}
	return true
}

// values are the entries of the Secret that declares it.
func (g *Given) values() map[string]string {
	on := func(b bool) string {
		if b {
			return "true"
		}
		return ""
	}
	count := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	return map[string]string{
		"url": g.Repo, "type": g.Type, "name": g.Name, "project": g.Project, "username": g.Username, "password": g.Password, "bearerToken": g.BearerToken,
		"sshPrivateKey": g.SSHPrivateKey, "insecure": on(g.Insecure), "insecureIgnoreHostKey": on(g.InsecureIgnoreHostKey), "enableLfs": on(g.EnableLFS),
		"enableOCI": on(g.EnableOCI), "insecureOCIForceHttp": on(g.InsecureOCIForceHTTP), "tlsClientCertData": g.TLSClientCertData, "tlsClientCertKey": g.TLSClientCertKey,
		"githubAppPrivateKey": g.GitHubAppPrivateKey, "githubAppID": count(g.GitHubAppID), "githubAppInstallationID": count(g.GitHubAppInstallationID),
		"githubAppEnterpriseBaseUrl": g.GitHubAppEnterpriseBaseURL, "proxy": g.Proxy, "noProxy": g.NoProxy, "gcpServiceAccountKey": g.GCPServiceAccountKey,
		"forceHttpBasicAuth": on(g.ForceHTTPBasicAuth), "useAzureWorkloadIdentity": on(g.UseAzureWorkloadIdentity),
		"azureServicePrincipalClientId": g.AzureServicePrincipalClientID, "azureServicePrincipalClientSecret": g.AzureServicePrincipalClientSecret,
		"azureServicePrincipalTenantId": g.AzureServicePrincipalTenantID, "azureActiveDirectoryEndpoint": g.AzureActiveDirectoryEndpoint,
		"depth": count(g.Depth), "webhookManifestCacheWarmDisabled": on(g.WebhookManifestCacheWarmDisabled),
	}
}

// repository is what a connection is tried with.
func (g *Given) repository() repo.Repository {
	return repo.Repository{
		URL: g.Repo, Type: repo.Type(g.Type), Name: g.Name, Project: g.Project, Asker: g.Project, Username: g.Username, Password: repo.Secret(g.Password),
		BearerToken: repo.Secret(g.BearerToken), SSHPrivateKey: repo.Secret(g.SSHPrivateKey), Insecure: g.Insecure || g.InsecureIgnoreHostKey,
		TLSClientCertData: g.TLSClientCertData, TLSClientCertKey: repo.Secret(g.TLSClientCertKey),
		GitHubApp: repo.GitHubApp{ID: g.GitHubAppID, Installation: g.GitHubAppInstallationID, PrivateKey: repo.Secret(g.GitHubAppPrivateKey), BaseURL: g.GitHubAppEnterpriseBaseURL},
		EnableOCI: g.EnableOCI, InsecureOCIForceHTTP: g.InsecureOCIForceHTTP, ForceHTTPBasicAuth: g.ForceHTTPBasicAuth, EnableLFS: g.EnableLFS,
		Proxy: repo.Secret(g.Proxy), NoProxy: g.NoProxy,
	}
}

// complete checks what is given; a template may call its URL url.
func (g *Given) complete() error {
	if g.Repo == "" {
		g.Repo = g.URL
	}
	if g.Type == "" {
		g.Type = "git"
	}
	switch {
	case g.Repo == "":
		return fault.New(fault.InvalidArgument, "the request names no repository: set repo to its URL")
	case !slices.Contains([]string{"git", "helm", "oci"}, g.Type):
		return fault.New(fault.InvalidArgument, "type %q is none of git, helm and oci", g.Type)
	case g.Depth < 0 || g.GitHubAppID < 0 || g.GitHubAppInstallationID < 0:
		return fault.New(fault.InvalidArgument, "depth, githubAppID and githubAppInstallationID: want 0 or more")
	case g.Type == "helm" && !g.EnableOCI:
		// A Helm repository may be a host without a path.
		if u, err := url.Parse(g.Repo); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fault.New(fault.InvalidArgument, "repo is no URL of a Helm repository: write https://host or https://host/path; for a registry write host/path and set enableOCI")
		}
	case g.Type == "git" && !g.EnableOCI:
		if _, err := repo.Parse(g.Repo); err != nil {
			return fault.New(fault.InvalidArgument, "repo is no URL of a repository: write https://host/path, ssh://user@host/path or user@host:path")
		}
	}
	return nil
}

// find gives the Secret that declares a URL for a project.
func (s *Service) find(f family, url, project string, exact bool) *corev1.Secret {
	var unscoped *corev1.Secret
	for _, secret := range s.Hub.Declared(f.kind) {
		if repo.Normalize(text(secret, "url")) != repo.Normalize(url) {
			continue
		}
		switch text(secret, "project") {
		case project:
			return secret
		case "":
			unscoped = secret
		}
	}
	if exact {
		return nil
	}
	return unscoped
}

func name(f family, g *Given) string { return reference.SecretName(f.prefix, g.Repo, g.Project) }
