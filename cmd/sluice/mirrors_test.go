package main

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

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
