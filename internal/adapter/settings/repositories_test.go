package settings_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
)

func TestRepositoryKeys(t *testing.T) {
	s := settings.Parse([]*corev1.Secret{
		secret("repository", "all", "url=https://git/a", "username= u ", "password=p", "bearerToken=b", "sshPrivateKey=k\n", "insecure=true", "enableLfs=true",
			"tlsClientCertData=c", "tlsClientCertKey=ck", "githubAppID=12", "githubAppInstallationID=34", "githubAppPrivateKey=gk", "githubAppEnterpriseBaseUrl=https://ghe/api/v3",
			"proxy=http://proxy", "noProxy=x", "name=n", "enableOCI=true", "insecureOCIForceHttp=true", "forceHttpBasicAuth=true", "depth=1"),
	}, []*corev1.ConfigMap{
		config("argocd-tls-certs-cm", map[string]string{"git": "PEM"}), config("argocd-ssh-known-hosts-cm", map[string]string{"ssh_known_hosts": "hosts"}),
	})
	r := s.Repository("https://git:8443/a", "p")
	if r.CAData != "PEM" || r.KnownHosts != "hosts" || r.Username != "" || r.Asker != "p" {
		t.Errorf("an undeclared repository of the host has CA %q, known hosts %q, user %q", r.CAData, r.KnownHosts, r.Username)
	}
	r = s.Repository("https://git/a.git", "p")
	got := fmt.Sprintln(r.Type, r.Name, r.Username, r.Password.Reveal(), r.BearerToken.Reveal(), r.SSHPrivateKey.Reveal(), r.Insecure, r.EnableLFS, r.PartialClone,
		r.TLSClientCertData, r.TLSClientCertKey.Reveal(), r.GitHubApp.ID, r.GitHubApp.Installation, r.GitHubApp.PrivateKey.Reveal(), r.GitHubApp.BaseURL,
		r.Proxy.Reveal(), r.NoProxy, r.EnableOCI, r.InsecureOCIForceHTTP, r.ForceHTTPBasicAuth, r.Invalid)
	want := "git n u p b k\n true true true c ck 12 34 gk https://ghe/api/v3 http://proxy x true true true \n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestUnreadableRepositoryIsRefusedNotOpened(t *testing.T) {
	for key, want := range map[string]string{
		"insecure=perhaps": "not a boolean", "githubAppID=x": "not a number", "depth=-1": "not a number", "type=svn": "git, helm or oci",
		"useAzureWorkloadIdentity=true": "not supported yet", "gcpServiceAccountKey={}": "not supported yet",
	} {
		s := settings.Parse([]*corev1.Secret{secret("repository", "x", "url=https://git/a", "password=s3cret", key), secret("repository", "good", "url=https://git/b", "username=u")}, nil)
		r := s.Repository("https://git/a", "p")
		name, _, _ := strings.Cut(key, "=")
		if !strings.Contains(r.Invalid, "Secret/x") || !strings.Contains(r.Invalid, want) || !strings.Contains(r.Invalid, name) || strings.Contains(r.Invalid, "s3cret") {
			t.Errorf("%s: invalid because %q", key, r.Invalid)
		}
		if len(s.Problems) != 1 || s.Repository("https://git/b", "p").Username != "u" {
			t.Errorf("%s: problems %v", key, s.Problems)
		}
	}
}

func TestTemplates(t *testing.T) {
	s := settings.Parse([]*corev1.Secret{
		secret("repo-creds", "host", "url=https://git", "username=host", "password=h", "insecure=true", "proxy=http://p", "noProxy=n"),
		secret("repo-creds", "acme", "url=https://git/acme/", "username=acme", "githubAppPrivateKey=k", "githubAppID=1"),
		secret("repo-creds", "ssh", "url=git@git", "sshPrivateKey=k"),
		secret("repository", "own", "url=https://git/acme/own", "username=own"),
		secret("repository", "proxied", "url=https://git/proxied", "proxy=http://other"),
		secret("repository", "twin-a", "url=https://git/twin", "username=first"),
		secret("repository", "twin-b", "url=https://git/twin.git", "username=second"),
		secret("repository", "foreign", "url=https://git/foreign", "username=foreign", "project=other"),
	}, nil)
	for _, c := range []struct{ url, user string }{
		{"https://git/acme/x", "acme"},
		{"https://git/acme-evil/x", "host"},
		{"https://git.evil.com/x", ""},
		{"https://git:8443/x", ""},
		{"http://git/x", ""},
		{"https://git@evil/x", ""},
		{"https://git/acme/own", "own"},
		{"https://git/twin", "first"},
		{"https://git/foreign", "host"}, // scoped to another project: as if it were not there
	} {
		if got := s.Repository(c.url, "team").Username; got != c.user {
			t.Errorf("%s: user %q, want %q", c.url, got, c.user)
		}
	}
	if r := s.Repository("https://git/x", "team"); r.Insecure || r.Proxy.Reveal() != "http://p" || r.NoProxy != "n" {
		t.Errorf("inherits insecure %v, proxy %q, noProxy %q", r.Insecure, r.Proxy.Reveal(), r.NoProxy)
	}
	if r := s.Repository("https://git/proxied", "team"); r.Proxy.Reveal() != "http://other" || r.Username != "host" {
		t.Errorf("a repository with a proxy of its own has %q and user %q", r.Proxy.Reveal(), r.Username)
	}
	if r := s.Repository("git@git:acme/x.git", "team"); r.SSHPrivateKey != "k" {
		t.Error("an scp URL does not find the template of its host")
	}
	if r := s.Repository("https://git/acme/x", "team"); r.GitHubApp.ID != 1 || r.Password != "" {
		t.Error("credentials of two templates are mixed")
	}
	if len(s.Problems) != 1 || s.Problems[0].Object != "Secret/twin-b" {
		t.Errorf("problems %v", s.Problems)
	}
	for url, want := range map[string]bool{"https://git/any": true, "https://else/x": false, "ssh://git@git/x": true} {
		if s.Declared(url, "team") != want {
			t.Errorf("Declared(%q) is %v", url, !want)
		}
	}
}

func TestRepositoryPace(t *testing.T) {
	for _, c := range []struct {
		config        map[string]string
		every, jitter time.Duration
		problem       string
	}{
		{nil, 15 * time.Second, 3 * time.Second, ""},
		{map[string]string{"timeout.reconciliation": "180s"}, 180 * time.Second, time.Minute, ""},
		{map[string]string{"timeout.reconciliation": "2m", "timeout.reconciliation.jitter": "10s"}, 2 * time.Minute, 10 * time.Second, ""},
		{map[string]string{"timeout.reconciliation": "0s"}, 0, time.Minute, ""},
		{map[string]string{"timeout.reconciliation": "1ms", "timeout.reconciliation.jitter": "0"}, time.Second, 0, ""},
		{map[string]string{"timeout.reconciliation": "180s", "repository.poll.interval": "5s"}, 5 * time.Second, time.Second, ""},
		{map[string]string{"timeout.reconciliation": "soon"}, 15 * time.Second, 3 * time.Second, "timeout.reconciliation"},
		{map[string]string{"repository.poll.interval": "x", "timeout.reconciliation": "1m"}, time.Minute, time.Minute, "repository.poll.interval"},
	} {
		every, jitter, err := settings.Parse(nil, []*corev1.ConfigMap{config("argocd-cm", c.config)}).RepositoryPace(15 * time.Second)
		if every != c.every || jitter != c.jitter || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%v: %s + %s, %v; want %s + %s, %q", c.config, every, jitter, err, c.every, c.jitter, c.problem)
		}
	}
}

func TestUnusableSigningKeyHidesNoOther(t *testing.T) {
	s := settings.Parse(nil, []*corev1.ConfigMap{config("argocd-gpg-keys-cm", map[string]string{"0123456789ABCDEF": "nonsense"})})
	if len(s.Keys) != 0 || len(s.Problems) != 1 || s.Problems[0].Object != "ConfigMap/argocd-gpg-keys-cm" || !strings.Contains(s.Problems[0].Message, "0123456789ABCDEF") {
		t.Errorf("keys %v, problems %v", s.Keys, s.Problems)
	}
}

func TestRepositoryByName(t *testing.T) {
	s := settings.Parse([]*corev1.Secret{
		secret("repository", "a", "url=https://charts/a", "name=charts", "type=helm", "username=all"),
		secret("repository", "b", "url=https://charts/b", "name=charts", "type=helm", "username=team", "project=team"),
		secret("repository", "c", "url=https://charts/c", "name=hidden", "type=helm", "project=other"),
	}, nil)
	for project, want := range map[string]string{"team": "team", "default": "all"} {
		if r, ok := s.RepositoryByName("charts", project); !ok || r.Username != want || r.Asker != project {
			t.Errorf("project %s gets %+v of %q", project, r, r.Username)
		}
	}
	for _, name := range []string{"hidden", "", "none"} {
		if r, ok := s.RepositoryByName(name, "team"); ok {
			t.Errorf("%q gives %s", name, r)
		}
	}
}
