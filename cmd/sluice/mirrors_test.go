package main

import (
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
