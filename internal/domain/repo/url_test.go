package repo_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	attacks "github.com/sluice-cd/sluice/test/hostile"
)

// hostile are URLs that must never reach git.
var hostile = []string{
	"", " ", "-", "--upload-pack=touch /tmp/x", "-oProxyCommand=touch /tmp/x", "ext::sh -c touch% /tmp/x", "ext::sh", "fd::17", "transport::address",
	"ssh://-oProxyCommand=x/y", "ssh://-oProxyCommand=x@host/y", "-oProxyCommand=x:y", "user@-oProxyCommand=x:y", "ssh://host/-x\n", "ssh://host:port/x", "ssh://host:99999999/x",
	"https://host/a\nb", "https://host/a\rb", "https://host/a\x00b", "https://host/a%0ab", "https://host/a%0d%0ab", "https://host/a%00", "https://host%0a.evil/x",
	"https://host\\@evil/x", "https://host/a\\b", "https://host/../x", "https://host/a/../b", "https://host/a/./b", "https://host/a/%2e%2e/b", "https://host/a%2fb", "https://host/a%2Fb", "https://host/%5c",
	"https://", "https:///x", "https://host", "https://host/", "https://ho st/x", "https://hőst/x", "https://host/x?service=git-receive-pack", "https://host/x#main", "https://ho\u200bst/x",
	"git://host/x", "ftp://host/x", "javascript://x/y", "file://host/x", "file://", "file:///a/../b", "rsync://host/x", "https+ext://h/x", "HTTPS::x",
	"git@host:", "git@host", "git@ho st:x", "git@host:-x", "git@host:a/../b", "@host:x", "a@b@host:x", "host:x\n", "[::1:x", "/srv/x", "./x", "../x", "x",
	"https://a..b/x", "https://.a/x", "https://-a/x", "https://a:x/y", "ssh://u$(id)@host/x", "ssh://`id`@host/x", "\u202ehttps://host/x", strings.Repeat("https://host/x", 200),
}

func TestParseRefusesWhatCouldBeMisread(t *testing.T) {
	for _, raw := range hostile {
		if a, err := repo.Parse(raw); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", raw, a)
		}
	}
	if _, err := repo.Parse("https://u:" + canary + "@host/../x"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v shows a password, or is none", err)
	}
}

func TestParse(t *testing.T) {
	for raw, want := range map[string]repo.Address{
		"https://u:p@GitHub.com/Acme/shop.git":  {Scheme: "https", User: "u", Host: "github.com", Path: "/Acme/shop.git"},
		"http://127.0.0.1:3000/a":               {Scheme: "http", Host: "127.0.0.1", Port: "3000", Path: "/a"},
		"HTTPS://[::1]:443/a":                   {Scheme: "https", Host: "::1", Port: "443", Path: "/a"},
		"ssh://git@host:7999/team/shop.git":     {Scheme: "ssh", User: "git", Host: "host", Port: "7999", Path: "/team/shop.git"},
		"git@github.com:Acme/shop.git":          {Scheme: "ssh", User: "git", Host: "github.com", Path: "Acme/shop.git"},
		"host:a":                                {Scheme: "ssh", Host: "host", Path: "a"},
		"git@[::1]:a":                           {Scheme: "ssh", User: "git", Host: "::1", Path: "a"},
		"file:///srv/with-dash/x":               {Scheme: "file", Path: "/srv/with-dash/x"},
		"https://dev.azure.com/o/p%20q/_git/r":  {Scheme: "https", Host: "dev.azure.com", Path: "/o/p%20q/_git/r"},
		"https://host/~me/x":                    {Scheme: "https", Host: "host", Path: "/~me/x"},
		"ssh://APKA%2B@git-codecommit.x/v1/r":   {Scheme: "ssh", User: "APKA+", Host: "git-codecommit.x", Path: "/v1/r"},
		"https://org@dev.azure.com/o/p/_git/r/": {Scheme: "https", User: "org", Host: "dev.azure.com", Path: "/o/p/_git/r/"},
	} {
		got, err := repo.Parse(raw)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", raw, got, err, want)
		}
	}
	for raw, want := range map[string]string{
		"https://u@HOST:443/x": "https://host", "http://host:443/x": "http://host:443", "git@host:x": "ssh://host", "https://[::1]:8443/x": "https://[::1]:8443",
	} {
		if a, err := repo.Parse(raw); err != nil || a.Origin() != want {
			t.Errorf("origin of %q is %q, %v; want %q", raw, a.Origin(), err, want)
		}
	}
}

func TestNormalize(t *testing.T) {
	for _, group := range [][]string{
		{
			"https://github.com/acme/shop", "https://github.com/acme/shop.git", " https://GitHub.com/Acme/Shop.git ", "https://github.com/acme/shop/",
			"https://github.com:443/acme/shop", "https://u:p@github.com/acme/shop", "https://github.com./acme/shop", "https://github.com//acme//shop.git/", "https://github.com/acme/shop.git.git",
		},
		{"git@github.com:acme/shop.git", "ssh://git@github.com/acme/shop", "git@github.com/acme/shop", "ssh://git@github.com:22/acme/shop", "git@github.com:/acme/shop", "ssh://git:pw@github.com/acme/shop"},
		{"file:///srv/shop", "file:///srv/shop.git"},
		{"ssh://git@host:7999/a", "ssh://git@HOST:7999/a.git"},
	} {
		for _, url := range group[1:] {
			if a, b := repo.Normalize(group[0]), repo.Normalize(url); a != b {
				t.Errorf("%q is %q, %q is %q: want the same", group[0], a, url, b)
			}
		}
	}
	for _, pair := range [][2]string{
		{"https://a/x", "https://a/y"},
		{"http://a/x", "https://a/x"},
		{"https://a:8443/x", "https://a/x"},
		{"ssh://git@host:7999/a", "git@host:7999/a"},
		{"https://github.com@evil.com/acme", "https://github.com/acme"},
		{"https://git/org/../evil", "https://git/evil"},
	} {
		if a, b := repo.Normalize(pair[0]), repo.Normalize(pair[1]); a == b {
			t.Errorf("%q and %q are both %q", pair[0], pair[1], a)
		}
	}
	for _, pattern := range []string{"*", "https://github.com/*", "https://*.example.com/**", "{https://a,https://b}/x", "!https://a/*"} {
		if got := repo.Normalize(pattern); got != pattern {
			t.Errorf("pattern %q becomes %q", pattern, got)
		}
	}
	if got := repo.Normalize("git@github.com:*"); got != "git@github.com/*" {
		t.Errorf("an scp pattern becomes %q", got)
	}
}

// TestNoSpellingPassesTheGate mutates refused URLs: what Parse accepts and the
// pattern permits must really be on the permitted host and below its path.
func TestNoSpellingPassesTheGate(t *testing.T) {
	const permitted = "https://git.example.com/org/"
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"..", ".", "/", "//", "%2f", "%2e", "\\", "@", ":", ":443", "org", "evil", "git.example.com", "https://", "?", "#", ".git", "\n", "\x00", "%00", "-", "é", "user", "ORG", "%5c", ";", " "}
	for range 20_000 {
		url := "https://git.example.com/evil"
		for range 1 + random.IntN(4) {
			at := random.IntN(len(url) + 1)
			url = url[:at] + pieces[random.IntN(len(pieces))] + url[at:]
		}
		a, err := repo.Parse(url)
		if err != nil || !strings.HasPrefix(repo.Normalize(url), permitted) {
			continue
		}
		if a.Origin() != "https://git.example.com" || !strings.HasPrefix(strings.TrimLeft(strings.ToLower(a.Path), "/"), "org/") {
			t.Fatalf("%q passes as %q, but leads to %s%s", url, repo.Normalize(url), a.Origin(), a.Path)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		prefix, url string
		want        bool
	}{
		{"https://git/acme/", "https://git/acme/shop.git", true},
		{"https://git/acme/", "https://git/acme-evil/shop", false},
		{"https://git/acme", "https://git/acme-two/shop", true}, // by letters
		{"https://git", "https://git/x", true},
		{"https://git/", "https://git/x", true},
		{"https://git", "https://git.evil.com/x", false},
		{"https://git", "https://git:8443/x", false},
		{"https://git", "https://git@evil.com/x", false},
		{"https://git", "http://git/x", false},
		{"git@github.com", "git@github.com:acme/x", true},
		{"git@github.com:acme/", "ssh://git@github.com/acme/x", true},
		{"ssh://git@host:7999", "ssh://git@host:7999/a", true},
		{"https://git/acme/shop", "https://git/acme/shop.git", true},
	} {
		if got := repo.Covers(c.prefix, c.url); got != c.want {
			t.Errorf("Covers(%q, %q) is %v", c.prefix, c.url, got)
		}
	}
}

func TestHostOf(t *testing.T) {
	for raw, want := range map[string]string{
		"https://u:p@Git.Example.com:8443/x": "git.example.com", "git@host:x": "host", "https://[::1]:443/x": "::1", "registry:5000/charts": "registry", "oci://ghcr.io/x": "ghcr.io", "": "",
	} {
		if got := repo.HostOf(raw); got != want {
			t.Errorf("HostOf(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:p@host/x":       "https://host/x",
		"https://token@host/x":     "https://host/x",
		"https://u:p%zz@host/x":    "https://host/x",
		"https://u:p/q@host/x":     "https://host/x",
		"ssh://git:p@host/x":       "ssh://git@host/x",
		"git@host:team/x":          "git@host:team/x",
		"file:///srv/x":            "file:///srv/x",
		"https://host/x?a=b@c":     "https://host/x?a=b@c",
		"https://host/no-password": "https://host/no-password",
	} {
		if got := repo.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRelative(t *testing.T) {
	for _, c := range []struct{ parent, child, want string }{
		{"https://host/acme/shop.git", "../lib.git", "https://host/acme/lib.git"},
		{"https://host/acme/shop", "./lib", "https://host/acme/shop/lib"},
		{"https://host/acme/shop", "../../other/lib", "https://host/other/lib"},
		{"https://host/acme/shop", "../../../lib", ""},
		{"https://host/acme/shop", "../../../../evil.com/lib", ""},
		{"git@host:acme/shop.git", "../lib.git", "git@host:acme/lib.git"},
		{"git@host:shop.git", "../lib.git", "git@host:lib.git"},
		{"https://host/acme/shop", "https://else/lib", "https://else/lib"},
	} {
		got, err := repo.Relative(c.parent, c.child)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Relative(%q, %q) = %q, %v; want %q", c.parent, c.child, got, err, c.want)
		}
	}
}

var helper = regexp.MustCompile(`^[a-zA-Z0-9]+::`)

func FuzzURL(f *testing.F) {
	for _, url := range slices.Concat(attacks.URLs("/outside/canary", "/outside/sh"), attacks.Arguments("/outside/canary", "/outside/sh")) {
		f.Add(url)
	}
	for _, url := range hostile {
		f.Add(url)
	}
	for _, url := range []string{"https://user:pass@host:443/a.git", "git@host:a/b.git", "ssh://git@host:22/a", "file:///a", "https://a./b//c.git/.git/"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		n := repo.Normalize(url)
		if again := repo.Normalize(n); again != n {
			t.Errorf("%q is %q, and that is %q", url, n, again)
		}
		if spaced := repo.Normalize("  " + strings.TrimSpace(url) + "\n"); spaced != n {
			t.Errorf("%q is %q, with spaces around it %q", url, n, spaced)
		}
		if l := repo.Locator(url); l != "" && (strings.HasSuffix(l, ".git") || strings.Contains(l, "@") && !strings.Contains(url[strings.Index(url, "@")+1:], "@") && strings.HasPrefix(l, "@")) {
			t.Errorf("the locator of %q is %q", url, l)
		}
		a, err := repo.Parse(url)
		if err != nil {
			return
		}
		switch {
		case url[0] == '-' || strings.ContainsAny(url, "\n\r\x00\\ \t") || helper.MatchString(url):
			t.Errorf("%q passes", url)
		case a.Scheme != "file" && (a.Host == "" || a.Host[0] == '-'), a.Path == "" || a.Path[0] == '-', a.User != "" && a.Scheme == "ssh" && a.User[0] == '-':
			t.Errorf("%q passes as %+v", url, a)
		case strings.Contains("/"+a.Path+"/", "/../"):
			t.Errorf("%q climbs: %+v", url, a)
		}
	})
}
