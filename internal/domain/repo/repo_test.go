package repo_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

func TestNormalize(t *testing.T) {
	for _, group := range [][]string{
		{"https://github.com/acme/shop", "https://github.com/acme/shop.git", " https://GitHub.com/Acme/Shop.git ", "https://github.com/acme/shop/"},
		{"git@github.com:acme/shop.git", "ssh://git@github.com/acme/shop", "git@github.com/acme/shop"},
		{"file:///srv/shop", "file:///srv/shop.git"},
	} {
		for _, url := range group[1:] {
			if a, b := repo.Normalize(group[0]), repo.Normalize(url); a != b {
				t.Errorf("%q is %q, %q is %q: want the same", group[0], a, url, b)
			}
		}
	}
	if a, b := repo.Normalize("https://a/x"), repo.Normalize("https://a/y"); a == b {
		t.Errorf("different repositories are both %q", a)
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add("https://user:pass@host:443/a.git")
	f.Add("git@host:a/b.git")
	f.Add("ssh://git@host:22/a")
	f.Fuzz(func(t *testing.T, url string) {
		if a, b := repo.Normalize(url), repo.Normalize("  "+strings.TrimSpace(url)+"\n"); a != b {
			t.Errorf("%q is %q, with spaces around it %q", url, a, b)
		}
	})
}
