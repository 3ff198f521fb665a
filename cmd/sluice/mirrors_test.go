package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

func TestLend(t *testing.T) {
	parent := repo.Repository{URL: "https://host/a", Username: "bot", Password: "pw", Asker: "team", EnableLFS: true}
	for url, want := range map[string]string{"https://host/b": "bot", "https://host:8443/b": "", "https://other/b": "", "http://host/b": "", "git@host:b": ""} {
		got := lend(parent, repo.Repository{URL: url, Asker: "team"})
		if got.Username != want || got.URL != url || got.Asker != "team" {
			t.Errorf("%s is read by %q as %+v, want %q", url, got.Username, got, want)
		}
	}
	if got := lend(parent, repo.Repository{URL: "https://host/b", Username: "own"}); got.Username != "own" || got.EnableLFS {
		t.Errorf("a submodule with credentials of its own is read by %q", got.Username)
	}
}

func TestProxyEnvironment(t *testing.T) {
	got := proxyEnvironment([]string{"HOME=/x", "https_proxy=a", "NO_PROXY=b", "GIT_SSH_COMMAND=evil", "GIT_CONFIG_COUNT=1", "ALL_PROXY=c"})
	if diff := cmp.Diff([]string{"https_proxy=a", "NO_PROXY=b", "ALL_PROXY=c"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPrivate(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "192.168.0.1": true, "172.16.0.1": true, "169.254.169.254": true, "::1": true, "fe80::1": true, "fd00::1": true,
		"::ffff:127.0.0.1": true, "0.0.0.0": true, "100.64.0.1": true, "localhost": true, "8.8.8.8": false, "2001:4860:4860::8888": false, "100.128.0.1": false,
	} {
		if got := private(t.Context(), net.DefaultResolver, host); got != want {
			t.Errorf("private(%q) is %v", host, got)
		}
	}
}

func TestSubmodulesAskTheProject(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "inner", Labels: map[string]string{"argocd.argoproj.io/secret-type": "repository"}},
		Data:       map[string][]byte{"url": []byte("https://10.0.0.1/lib"), "username": []byte("inner")},
	}
	projects := func(_ context.Context, name string) (*v1alpha1.AppProject, error) {
		if name != "team" {
			return nil, errors.New("not found")
		}
		return &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{SourceRepos: []string{"https://10.0.0.1/*", "https://10.0.0.2/*", "https://host/*"}}}, nil
	}
	params := map[string]string{}
	ask := submodules(t.Context(), func() *settings.Snapshot {
		return settings.Parse([]*corev1.Secret{secret}, []*corev1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Name: "argocd-cmd-params-cm"}, Data: params}})
	}, projects)
	parent := repo.Repository{URL: "https://host/a", Username: "bot", Asker: "team"}
	for url, want := range map[string]string{
		"https://host/b": "bot", "https://10.0.0.1/lib": "inner", "https://10.0.0.2/lib": "inside the network", "https://elsewhere/x": "add it to spec.sourceRepos",
	} {
		got, err := ask(parent, url)
		if (err == nil && got.Username != want) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s is read by %q, %v; want %q", url, got.Username, err, want)
		}
	}
	lost := parent
	lost.Asker = "lost"
	if _, err := ask(lost, "https://host/b"); err == nil || !strings.Contains(err.Error(), "project lost") {
		t.Errorf("for a project that is not there: %v", err)
	}
	params["reposerver.enable.git.submodule"] = "false"
	if _, err := ask(parent, "https://host/b"); err == nil || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("switched off: %v", err)
	}
}

// TestContentCallsNobodyInside: what only a commit names must not lead inside
// the network, unless an administrator declared it, the repository itself is
// there, or a flag allows the host.
func TestContentCallsNobodyInside(t *testing.T) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "inner", Labels: map[string]string{"argocd.argoproj.io/secret-type": "repository"}},
		Data:       map[string][]byte{"url": []byte("https://10.0.0.1/charts"), "type": []byte("helm")},
	}
	gate := insideGate(func() *settings.Snapshot { return settings.Parse([]*corev1.Secret{secret}, nil) }, []string{"10.0.0.9"})
	for url, refused := range map[string]bool{
		"https://10.0.0.1/charts": false, "https://10.0.0.2/charts": true, "https://10.0.0.5/b": false, "https://10.0.0.9/x": false, "https://8.8.8.8/x": false,
		"http://169.254.169.254/latest/meta-data": true, "http://localhost:1/x": true, "http://[::ffff:127.0.0.1]:1/x": true, "oci://127.0.0.1:5000/x": true, "https://user:pw@127.0.0.1/x": true,
	} {
		err := gate(t.Context(), "team", "https://10.0.0.5/a", url)
		if (err != nil) != refused || err != nil && (!strings.Contains(err.Error(), "declare it with a repository Secret") || strings.Contains(err.Error(), "pw")) {
			t.Errorf("%s: %v, want refused %t", url, err, refused)
		}
	}
}
