package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

func (s *Snapshot) addRepository(secret *corev1.Secret) {
	r, ok := s.repository(secret)
	if !ok {
		return
	}
	key := repo.Normalize(r.URL)
	for _, at := range s.byURL[key] {
		if s.repositories[at].Project == r.Project {
			s.problem(secret, "key \"url\": another repository Secret declares the same repository for the same project; delete one of both")
			return
		}
	}
	s.byURL[key] = append(s.byURL[key], len(s.repositories))
	s.repositories = append(s.repositories, r)
	if r.Project != "" {
		s.scoped[r.Project] = append(s.scoped[r.Project], r.URL)
	}
}

func (s *Snapshot) addTemplate(secret *corev1.Secret) {
	if r, ok := s.repository(secret); ok {
		s.templates = append(s.templates, r)
	}
}

// unsupported are keys whose credentials cannot be used yet; a repository that
// has them is refused rather than read without them.
var unsupported = []string{"gcpServiceAccountKey", "azureServicePrincipalClientId", "azureServicePrincipalClientID", "azureServicePrincipalClientSecret"}

// repository reads a Secret of type repository or repo-creds
// (spec/config.md §6.2 and §6.3). One with a value that cannot be understood is
// kept and says so when it is used: without it, its repository would be read
// with other credentials or none.
func (s *Snapshot) repository(secret *corev1.Secret) (repo.Repository, bool) {
	text := func(key string) string { return strings.TrimSpace(string(secret.Data[key])) }
	r := repo.Repository{
		URL: text("url"), Type: repo.Type(text("type")), Name: text("name"), Project: text("project"),
		Username: text("username"), Password: repo.Secret(text("password")), BearerToken: repo.Secret(text("bearerToken")),
		SSHPrivateKey:     repo.Secret(secret.Data["sshPrivateKey"]),
		TLSClientCertData: string(secret.Data["tlsClientCertData"]), TLSClientCertKey: repo.Secret(secret.Data["tlsClientCertKey"]),
		GitHubApp: repo.GitHubApp{PrivateKey: repo.Secret(secret.Data["githubAppPrivateKey"]), BaseURL: text("githubAppEnterpriseBaseUrl")},
		Proxy:     repo.Secret(text("proxy")), NoProxy: text("noProxy"),
	}
	if r.URL == "" {
		s.problem(secret, "key \"url\" is empty: set it to the URL of the repository")
		return r, false
	}
	invalid := func(format string, args ...any) {
		s.problem(secret, format, args...)
		if r.Invalid == "" {
			r.Invalid = "Secret/" + secret.Name + ": " + fmt.Sprintf(format, args...)
		}
	}
	switch r.Type {
	case "":
		r.Type = repo.Git
	case repo.Git, repo.Helm, repo.OCI:
	default:
		invalid("key \"type\" is not known: write git, helm or oci")
	}
	hostKey, azure, depth := false, false, int64(0)
	for key, field := range map[string]*bool{
		"insecure": &r.Insecure, "insecureIgnoreHostKey": &hostKey, "enableOCI": &r.EnableOCI, "enableLfs": &r.EnableLFS, "partialClone": &r.PartialClone,
		"insecureOCIForceHttp": &r.InsecureOCIForceHTTP, "forceHttpBasicAuth": &r.ForceHTTPBasicAuth, "useAzureWorkloadIdentity": &azure,
	} {
		value, err := strconv.ParseBool(text(key))
		if text(key) != "" && err != nil {
			invalid("key %q is not a boolean: write \"true\" or \"false\"", key)
		}
		*field = value
	}
	for key, field := range map[string]*int64{"githubAppID": &r.GitHubApp.ID, "githubAppInstallationID": &r.GitHubApp.Installation, "depth": &depth} {
		value, err := strconv.ParseInt(text(key), 10, 64)
		if text(key) != "" && (err != nil || value < 0) {
			invalid("key %q is not a number of zero or more", key)
		}
		*field = value
	}
	for _, key := range unsupported {
		if text(key) != "" {
			invalid("key %q: this kind of credential is not supported yet: use a token, an SSH key or a GitHub App", key)
		}
	}
	if azure {
		invalid("key \"useAzureWorkloadIdentity\": this kind of credential is not supported yet: use a token, an SSH key or a GitHub App")
	}
	r.Insecure = r.Insecure || hostKey
	r.PartialClone = r.PartialClone || depth > 0
	return r, true
}

// Repository gives what is known about url for a project: an exact
// declaration scoped to the project, else an unscoped one, and credentials of
// the longest matching template when it has none of its own. An undeclared
// repository is returned with its URL only.
func (s *Snapshot) Repository(url, project string) repo.Repository {
	r := s.declared(url, project)
	if !r.HasCredentials() {
		s.inherit(&r)
	}
	r.Asker = project
	r.KnownHosts = s.knownHosts
	r.CAData = s.certificates[repo.HostOf(url)]
	return r
}

// RepositoryByName gives the repository that is declared under a name for a
// project: one scoped to it, else an unscoped one.
func (s *Snapshot) RepositoryByName(name, project string) (repo.Repository, bool) {
	for _, scope := range []string{project, ""} {
		for _, r := range s.repositories {
			if r.Name == name && r.Project == scope && name != "" {
				return s.Repository(r.URL, project), true
			}
		}
	}
	return repo.Repository{}, false
}

// Declared says whether an administrator has declared url for a project, as a
// repository or by a template.
func (s *Snapshot) Declared(url, project string) bool {
	if s.find(url, project) >= 0 {
		return true
	}
	for _, t := range s.templates {
		if repo.Covers(t.URL, url) {
			return true
		}
	}
	return false
}

func (s *Snapshot) declared(url, project string) repo.Repository {
	found := repo.Repository{URL: url, Type: repo.Git}
	if at := s.find(url, project); at >= 0 {
		found = s.repositories[at]
	}
	found.URL = url
	return found
}

// find gives the position of the declaration for a project, the unscoped one
// when there is none, or -1.
func (s *Snapshot) find(url, project string) int {
	unscoped := -1
	for _, at := range s.byURL[repo.Normalize(url)] {
		switch s.repositories[at].Project {
		case "":
			unscoped = at
		case project:
			return at
		}
	}
	return unscoped
}

// inherit takes over the credentials of the longest template that covers r.
// What makes a connection less safe is not inherited, nor is anything across
// hosts or ports.
func (s *Snapshot) inherit(r *repo.Repository) {
	best, inherited := -1, ""
	for _, t := range s.templates {
		length := len(repo.Normalize(t.URL))
		if length <= best || !repo.Covers(t.URL, r.URL) {
			continue
		}
		best = length
		r.Username, r.Password, r.BearerToken = t.Username, t.Password, t.BearerToken
		r.SSHPrivateKey, r.GitHubApp = t.SSHPrivateKey, t.GitHubApp
		r.TLSClientCertData, r.TLSClientCertKey = t.TLSClientCertData, t.TLSClientCertKey
		r.EnableOCI = r.EnableOCI || t.EnableOCI
		r.InsecureOCIForceHTTP = r.InsecureOCIForceHTTP || t.InsecureOCIForceHTTP
		r.ForceHTTPBasicAuth = r.ForceHTTPBasicAuth || t.ForceHTTPBasicAuth
		if r.Proxy == "" {
			r.Proxy, r.NoProxy = t.Proxy, t.NoProxy
		}
		inherited = t.Invalid
	}
	if r.Invalid == "" {
		r.Invalid = inherited
	}
}

// Keys of argocd-cm that set how often repositories are asked.
const (
	pollIntervalKey  = "repository.poll.interval"
	reconcileKey     = "timeout.reconciliation"
	reconcileJitter  = "timeout.reconciliation.jitter"
	jitterByDefault  = time.Minute
	shortestInterval = time.Second
)

// RepositoryPace is how often a repository is asked, and the random part added
// to it: "repository.poll.interval" with a fifth of it, else
// "timeout.reconciliation" and "timeout.reconciliation.jitter" (default 60 s),
// else fallback with a fifth (spec/config.md §2.3). Zero switches polling off;
// an interval below a second counts as one second. A value that is no duration
// counts as absent; the error says so.
func (s *Snapshot) RepositoryPace(fallback time.Duration) (every, jitter time.Duration, err error) {
	const absent = -1
	for _, key := range []string{pollIntervalKey, reconcileKey} {
		value, problem := s.Duration(key, absent)
		if problem != nil {
			err = problem
			continue
		}
		if value < 0 {
			continue
		}
		jitter = value / 5
		if key == reconcileKey {
			var problem error
			if jitter, problem = s.Duration(reconcileJitter, jitterByDefault); problem != nil {
				err = problem
			}
		}
		if value > 0 {
			value = max(value, shortestInterval)
		}
		return value, max(0, jitter), err
	}
	return fallback, fallback / 5, err
}
