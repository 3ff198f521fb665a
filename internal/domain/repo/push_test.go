package repo_test

import (
	"slices"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	attacks "github.com/sluice-cd/sluice/test/hostile"
)

func TestPushTouches(t *testing.T) {
	for _, c := range []struct {
		web, source string
		want        bool
	}{
		{"https://github.com/Acme/Shop", "git@github.com:acme/shop.git", true},
		{"https://github.com/Acme/Shop", "ssh://git@ssh.github.com:443/acme/shop.git", true},
		{"https://github.com/Acme/Shop", "https://x:y@github.com/acme/shop", true},
		{"https://gitlab.com/a/b", "ssh://git@altssh.gitlab.com:443/a/b", true},
		{"https://github.com/acme/shop", "https://github.com/acme/shop2", false},
		{"https://github.com/acme/shop", "https://github.com/acme/shop/x", false},
		{"https://github.com/acme/shop", "https://github.com.evil.com/acme/shop", false},
		{"https://github.com/acme/.*", "https://github.com/acme/shop", false}, // no patterns
		{"https://host:8443/a", "https://host/a", true},                       // the port of the web page is another
		{"https://dev.azure.com/o/p/_git/r", "git@ssh.dev.azure.com:v3/o/p/r", true},
		{"", "", false},
		{"javascript:x", "https://host/a", false},
		{"https://host/a\nb", "https://host/a", false},
	} {
		if got := (repo.Push{URL: c.web}).Touches(c.source); got != c.want {
			t.Errorf("a push to %q touches %q: %v", c.web, c.source, got)
		}
	}
}

func TestPushMoves(t *testing.T) {
	for _, c := range []struct {
		push             repo.Push
		revision, prefix string
		want             bool
	}{
		{repo.Push{}, "anything", "", true},
		{repo.Push{Ref: "refs/heads/main", Default: true}, "HEAD", "", true},
		{repo.Push{Ref: "refs/heads/main", Default: true}, "", "", true},
		{repo.Push{Ref: "refs/heads/dev"}, "", "", false},
		{repo.Push{Ref: "refs/heads/main"}, "main", "", true},
		{repo.Push{Ref: "main"}, "main", "", true},
		{repo.Push{Ref: "refs/heads/team/x"}, "team/x", "", true},
		{repo.Push{Ref: "refs/heads/team/x"}, "x", "", false},
		{repo.Push{Ref: "refs/heads/main"}, "refs/heads/main", "", true},
		{repo.Push{Ref: "refs/tags/main"}, "refs/heads/main", "", false},
		{repo.Push{Ref: "main"}, "refs/heads/main", "", true},
		{repo.Push{Ref: "refs/tags/v1.2.0"}, "^1", "", true},
		{repo.Push{Ref: "refs/tags/v2.0.0"}, "^1", "", false},
		{repo.Push{Ref: "refs/heads/1.2.0"}, "^1", "", false}, // ranges never match branches
		{repo.Push{Ref: "refs/tags/web-1.2.0"}, "1.x", "web-", true},
		{repo.Push{Ref: "refs/tags/1.2.0"}, "1.x", "web-", false},
		{repo.Push{Ref: "refs/tags/web-1.2.0"}, "1.2.0", "web-", true},
		{repo.Push{Ref: "refs/heads/main"}, "dev", "", false},
		{repo.Push{Ref: "refs/pull/7/head"}, "refs/pull/7/head", "", true},
	} {
		if got := c.push.Moves(c.revision, c.prefix); got != c.want {
			t.Errorf("%+v moves %q (prefix %q): %v", c.push, c.revision, c.prefix, got)
		}
	}
}

func FuzzPush(f *testing.F) {
	for _, url := range slices.Concat(hostile, attacks.URLs("/outside/canary", "/outside/sh"), attacks.Arguments("/outside/canary", "/outside/sh")) {
		f.Add(url, "refs/heads/main", "main", "https://host/a")
		f.Add("https://host/a", url, url, url)
	}
	f.Add("https://github.com/acme/shop", "refs/tags/v1", "^1 || (", "git@github.com:acme/shop")
	f.Fuzz(func(t *testing.T, web, ref, revision, source string) {
		p := repo.Push{URL: web, Ref: ref}
		if p.Touches(source) {
			if !(repo.Push{URL: source}).Touches(web) {
				t.Errorf("%q touches %q, but not the other way", web, source)
			}
			if repo.HostOf(web) == "" {
				t.Errorf("%q has no host, but touches %q", web, source)
			}
		}
		p.Moves(revision, "") // must end, whatever the pattern
	})
}
