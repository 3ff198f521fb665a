package repo

import (
	"fmt"
	"log/slog"
)

// Type says which protocol a repository speaks.
type Type string

// The types of a declarative repository Secret (key "type", default git).
const (
	Git  Type = "git"
	Helm Type = "helm"
	OCI  Type = "oci"
)

// Repository is one source of manifests with everything needed to reach it.
// It is built from a Secret of type repository or repo-creds; a repository
// nobody declared has only a URL. Keys: spec/config.md §6.2.
type Repository struct {
	URL     string
	Type    Type
	Name    string
	Project string // scope of the declaration; empty is unscoped
	// Asker is the project on whose behalf the repository is used; it decides
	// which submodules may be read.
	Asker string
	// Invalid says why the declaration cannot be used, naming the Secret, the
	// key and the remedy; empty when it is fine.
	Invalid string

	Username      string
	Password      Secret
	BearerToken   Secret
	SSHPrivateKey Secret
	// Insecure skips TLS verification and host-key checks.
	Insecure          bool
	TLSClientCertData string
	TLSClientCertKey  Secret
	GitHubApp         GitHubApp
	// CAData is the PEM bundle for the host, from argocd-tls-certs-cm.
	CAData string
	// KnownHosts is the content of argocd-ssh-known-hosts-cm.
	KnownHosts string
	// EnableOCI marks a Helm repository in an OCI registry; InsecureOCIForceHTTP
	// speaks plain HTTP to it, ForceHTTPBasicAuth sends a password unasked (Git
	// requests always do).
	EnableOCI, InsecureOCIForceHTTP, ForceHTTPBasicAuth bool
	// EnableLFS replaces Git LFS pointers by what they stand for.
	EnableLFS bool
	// PartialClone leaves file contents at the remote until they are read. A
	// Secret asks for it with "partialClone", or with a depth above zero.
	PartialClone bool
	// Proxy is the URL of a proxy, which may hold credentials; NoProxy lists
	// the hosts reached without it.
	Proxy   Secret
	NoProxy string
}

// GitHubApp identifies an installed GitHub App.
type GitHubApp struct {
	ID int64
	// Installation is found by the owner in the URL when zero.
	Installation int64
	PrivateKey   Secret
	// BaseURL of the API of a GitHub Enterprise server; empty is github.com.
	BaseURL string
}

// HasCredentials says that r says by itself who is asking, so that templates
// do not apply (spec/config.md §6.3).
func (r Repository) HasCredentials() bool {
	return r.Username != "" || r.Password != "" || r.BearerToken != "" || r.SSHPrivateKey != "" ||
		r.TLSClientCertData != "" || r.GitHubApp.PrivateKey != ""
}

// String names r without any secret.
func (r Repository) String() string { return Redact(r.URL) }

// GoString is String: a Repository printed whole shows no field.
func (r Repository) GoString() string { return fmt.Sprintf("repo.Repository(%s)", Redact(r.URL)) }

// LogValue is String, for structured logs.
func (r Repository) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText is String, for encoders.
func (r Repository) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
