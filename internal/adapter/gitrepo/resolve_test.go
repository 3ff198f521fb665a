package gitrepo

import (
	"fmt"
	"strings"
	"testing"
)

func id(n int) string { return fmt.Sprintf("%040x", n) }

// offer is what ls-remote prints, in its order.
func offer() *Refs {
	var b strings.Builder
	for i, name := range []string{
		"HEAD", "refs/heads/1.0", "refs/heads/both", "refs/heads/main", "refs/heads/team/x", "refs/pull/7/head",
		"refs/tags/both", "refs/tags/v1.0.0", "refs/tags/v1.2.0", "refs/tags/v1.2.0^{}", "refs/tags/v1.10.0", "refs/tags/v2.0.0-rc.1",
		"refs/tags/web-1.1.0", "refs/tags/web-1.3.0", "refs/tags/latest",
	} {
		fmt.Fprintf(&b, "%s\t%s\n", id(i), name)
	}
	return parseRefs([]byte(b.String()))
}

func TestResolve(t *testing.T) {
	refs := offer()
	for _, c := range []struct{ revision, prefix, want, problem string }{
		{"", "", id(0), ""},
		{"HEAD", "", id(0), ""},
		{id(99), "", id(99), ""},
		{"main", "", id(3), ""},
		{"team/x", "", id(4), ""},
		{"refs/heads/main", "", id(3), ""},
		{"refs/pull/7/head", "", id(5), ""},
		{"both", "", id(2), ""},
		{"refs/tags/both", "", id(6), ""},
		{"v1.2.0", "", id(9), ""},       // an annotated tag is its commit
		{"1.0", "", id(1), ""},          // a version is a name, not a range
		{"^1.0.0", "", id(10), ""},      // 1.10 is above 1.2
		{"1.x", "", id(10), ""},         // ranges never match branches
		{">=1.0.0 <1.5", "", id(9), ""}, //
		{"*", "", id(10), ""},           // no pre-release
		{">=1.0.0-0", "", id(11), ""},   // unless asked for
		{"latest", "", id(14), ""},
		{"1.x", "web-", id(13), ""},
		{"1.1.0", "web-", id(12), ""},
		{"abcdef1", "", "abcdef1", ""},
		{"ABCDEF1", "", "abcdef1", ""},
		{"gone", "", "", "unable to resolve 'gone' to a commit SHA"},
		{"^9", "", "", "version matching constraint not found in 8 tags"},
		{"main", "web-", "", "not a version or version range"},
		{"9.9.9", "web-", "", "there is no tag web-9.9.9"},
	} {
		got, err := refs.Resolve(Target{Revision: c.revision, TagPrefix: c.prefix})
		if got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("Resolve(%q, prefix %q) = %q, %v; want %q, %q", c.revision, c.prefix, got, err, c.want, c.problem)
		}
	}
	if _, err := parseRefs(nil).Resolve(Target{}); err == nil || !strings.Contains(err.Error(), "has no commits") {
		t.Errorf("an empty repository resolves with %v", err)
	}
}

func TestScrub(t *testing.T) {
	text := "unable to access 'https://u:secret@host/x/': see 'http://t@host'"
	if got := scrub(text); strings.Contains(got, "secret") || strings.Contains(got, "t@host") {
		t.Errorf("scrub leaves %q", got)
	}
}

func TestExplain(t *testing.T) {
	for said, want := range map[string]string{
		"Cloning\nfatal: repository 'x' not found\n": "repository 'x' not found: check the URL",
		"No ED25519 key\nHost key verification failed.\r\nfatal: Could not read from remote repository.\n\nPlease make sure you have": "Host key verification failed.: add the key",
		"": "exit status 1",
	} {
		if got := (git{hide: scrub}).explain("fetch", said, 0, fmt.Errorf("exit status 1")).said; !strings.HasPrefix(got, want) {
			t.Errorf("explain(%q) = %q, want %q...", said, got, want)
		}
	}
}
