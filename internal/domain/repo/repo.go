// Package repo holds the words that name a source of manifests and the means
// to reach it. It knows no transport.
package repo

import "strings"

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
// nobody declared has only a URL.
type Repository struct {
	URL     string
	Type    Type
	Name    string
	Project string // scope; empty is unscoped

	Username      string
	Password      string
	BearerToken   string
	SSHPrivateKey string
	// Insecure skips TLS verification and host-key checks.
	Insecure          bool
	TLSClientCertData string
	TLSClientCertKey  string
	// CAData is the PEM bundle for the host, from argocd-tls-certs-cm.
	CAData string
	// KnownHosts is the content of argocd-ssh-known-hosts-cm.
	KnownHosts string
	// EnableOCI marks a Helm repository in an OCI registry; InsecureOCIForceHTTP
	// speaks plain HTTP to it.
	EnableOCI, InsecureOCIForceHTTP bool
	Proxy                           string
	NoProxy                         string
}

// Normalize gives the form in which two spellings of a repository URL are
// compared: trimmed, lower case, without ".git", scp-style SSH as a path and
// without the ssh scheme (spec/config.md §6.2).
func Normalize(url string) string {
	n := strings.ToLower(strings.TrimSpace(url))
	n = strings.TrimSuffix(n, "/")
	n = strings.TrimSuffix(n, ".git")
	if at := strings.Index(n, "@"); at >= 0 && !strings.Contains(n, "://") {
		if colon := strings.Index(n[at:], ":"); colon >= 0 {
			n = n[:at+colon] + "/" + strings.TrimPrefix(n[at+colon+1:], "/")
		}
	}
	return strings.TrimPrefix(n, "ssh://")
}
