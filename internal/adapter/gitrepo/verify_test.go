package gitrepo_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// keyring is a real GnuPG home.
type keyring struct {
	t    *testing.T
	home string
}

func newKeyring(t *testing.T) keyring {
	t.Helper()
	home := must(os.MkdirTemp("/tmp", "gnupg"))(t) // sockets need a short path
	k := keyring{t, home}
	t.Cleanup(func() {
		k.run("gpgconf", "--kill", "all")
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k keyring) run(name string, args ...string) string {
	k.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GNUPGHOME=" + k.home, "HOME=" + k.home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		k.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// key makes a key and gives its id and its armored public part.
func (k keyring) key(user string) (id, armored string) {
	k.t.Helper()
	k.run("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "2d")
	for _, line := range strings.Split(k.run("gpg", "--batch", "--with-colons", "--list-keys", user), "\n") {
		if fields := strings.Split(line, ":"); fields[0] == "pub" {
			id = fields[4]
		}
	}
	return id, k.export(id)
}

func (k keyring) export(ids ...string) string {
	return k.run("gpg", append([]string{"--batch", "--armor", "--export"}, ids...)...)
}

// revoke uses the certificate that GnuPG keeps for every key.
func (k keyring) revoke(id string) {
	k.t.Helper()
	for _, file := range must(filepath.Glob(filepath.Join(k.home, "openpgp-revocs.d", "*"+id+".rev")))(k.t) {
		text := strings.ReplaceAll(string(must(os.ReadFile(file))(k.t)), ":-----BEGIN", "-----BEGIN")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			k.t.Fatal(err)
		}
		k.run("gpg", "--batch", "--import", file)
	}
}

// commit makes a commit on main, signed when key is not empty.
func (k keyring) commit(r *gitserver.Repository, key, message string) string {
	k.t.Helper()
	args := []string{"--git-dir", r.Dir(), "commit-tree", "-m", message}
	if key != "" {
		args = append(args, "-S"+key)
	}
	if parent, err := r.Git("rev-parse", "--verify", "--quiet", "refs/heads/main"); err == nil {
		args = append(args, "-p", parent)
	}
	id := k.run("git", append(args, must(r.Git("hash-object", "-t", "tree", "-w", "/dev/null"))(k.t))...)
	must(r.Git("update-ref", "refs/heads/main", id))(k.t)
	return id
}

func parseKeys(t *testing.T, pairs ...string) (out []signature.Key) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, must(signature.ParseKey(pairs[i], pairs[i+1]))(t))
	}
	return out
}

func TestSignatures(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	k := newKeyring(t)
	ann, annKey := k.key("Ann <ann@example.com>")
	bob, bobKey := k.key("Bob <bob@example.com>")
	eve, _ := k.key("Eve <eve@example.com>")
	c := clocktesting.NewFakeClock(time.Now())
	m := mirrors(t, func(o *gitrepo.Options) { o.Clock = c })
	with := repo.Repository{URL: s.URL("shop")}
	known := parseKeys(t, ann, annKey, bob, bobKey)
	verify := func(target string, mode signature.Mode, keys []signature.Key, allowed ...string) (signature.Verdict, error) {
		t.Helper()
		wanted := gitrepo.Target{Revision: target}
		id := must(m.Resolve(t.Context(), with, wanted, true))(t)
		return m.Verify(t.Context(), with, wanted, id, gitrepo.Trust{Policy: signature.Policy{Mode: mode, Keys: allowed}, Known: keys})
	}
	expect := func(what string, want signature.Result) func(signature.Verdict, error) {
		return func(v signature.Verdict, err error) {
			t.Helper()
			var unsigned *gitrepo.UnsignedError
			if v.Result != want || (err == nil) != (want == signature.Good) || err != nil && !errors.As(err, &unsigned) {
				t.Errorf("%s: %s, error %v, want %s", what, v.Result, err, want)
			}
		}
	}
	unsigned := k.commit(r, "", "unsigned")
	expect("an unsigned commit", signature.Unsigned)(verify("main", signature.Head, known, ann))
	if _, err := verify("main", signature.None, known); err != nil {
		t.Errorf("without a policy: %v", err)
	}
	k.commit(r, ann, "by Ann")
	expect("Ann's commit", signature.Good)(verify("main", signature.Head, known, ann))
	expect("Ann's commit by a long id", signature.Good)(verify("main", signature.Head, known, "0x00000000"+strings.ToLower(ann)))
	expect("Ann's commit where Bob is asked for", signature.NotAllowed)(verify("main", signature.Head, known, bob))
	expect("Ann's commit without her key", signature.UnknownKey)(verify("main", signature.Head, known[1:], ann))
	k.commit(r, eve, "by Eve")
	expect("Eve's commit", signature.UnknownKey)(verify("main", signature.Head, known, ann, bob, eve))

	// Tags: an annotated one counts itself, a light one is its commit.
	must(r.Git("update-ref", "refs/heads/main", unsigned))(t)
	k.run("git", "--git-dir", r.Dir(), "-c", "user.signingkey="+bob, "tag", "-s", "-m", "release", "v1.0.0", unsigned)
	k.run("git", "--git-dir", r.Dir(), "tag", "-a", "-m", "release", "v1.1.0", unsigned)
	k.run("git", "--git-dir", r.Dir(), "tag", "light", unsigned)
	expect("a signed tag", signature.Good)(verify("v1.0.0", signature.Head, known, bob))
	expect("a signed tag in a range", signature.Good)(verify("~1.0", signature.Head, known, bob))
	expect("a signed tag by its full name", signature.Good)(verify("refs/tags/v1.0.0", signature.Head, known, bob))
	expect("an annotated tag without a signature", signature.Unsigned)(verify("v1.1.0", signature.Head, known, bob))
	expect("a light tag", signature.Unsigned)(verify("light", signature.Head, known, bob))

	strict := func(what string, good bool) {
		t.Helper()
		for range 2 {
			if _, err := verify("main", signature.Strict, known, ann, bob); (err == nil) != good {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	k.commit(r, ann, "signed after an unsigned one")
	strict("an unsigned commit before", false)
	k.commit(r, eve, "seal\n\nArgocd-gpg-seal: trust me")
	k.commit(r, ann, "after the seal of a stranger")
	strict("the seal of a stranger", false)
	k.commit(r, bob, "seal\n\nArgocd-gpg-seal: looked at all of it")
	strict("a seal", true)
	k.commit(r, ann, "after the seal")
	strict("after a seal", true)
	k.commit(r, "", "unsigned again")
	k.commit(r, ann, "and signed")
	strict("an unsigned commit after the seal", false)
	must(r.Git("update-ref", "refs/heads/main", unsigned))(t)
	k.commit(r, ann, "the last of Ann")
	k.revoke(ann)
	revoked := parseKeys(t, ann, k.export(ann))
	expect("a revoked key", signature.Revoked)(verify("main", signature.Head, revoked, ann))
	expect("the key before it was revoked", signature.Good)(verify("main", signature.Head, known, ann))
	c.Step(72 * time.Hour)
	expect("an expired key", signature.Expired)(verify("main", signature.Head, known, ann))
}

func TestTamperedCommitIsBad(t *testing.T) {
	_, r := server(t, gitserver.Options{})
	k := newKeyring(t)
	ann, annKey := k.key("Ann <ann@example.com>")
	raw := must(r.Git("cat-file", "commit", k.commit(r, ann, "signed")))(t) + "\n"
	known := parseKeys(t, ann, annKey)
	if v := signature.Check(signature.Commit([]byte(raw)), known, nil, time.Now()); v.Result != signature.Good || v.Signer != "Ann <ann@example.com>" || v.KeyID != ann {
		t.Errorf("untouched: %+v", v)
	}
	for _, change := range [][2]string{{"signed", "Signed"}, {"Ann", "Eve"}, {"tree 4", "tree 5"}} {
		if v := signature.Check(signature.Commit([]byte(strings.Replace(raw, change[0], change[1], 1))), known, nil, time.Now()); v.Result != signature.Bad {
			t.Errorf("%q instead of %q: %s", change[1], change[0], v.Result)
		}
	}
}

func TestParseKey(t *testing.T) {
	k := newKeyring(t)
	ann, annKey := k.key("Ann <ann@example.com>")
	bob, bobKey := k.key("Bob <bob@example.com>")
	for want, pair := range map[string][2]string{
		"has the key " + bob: {ann, bobKey}, "holds 2 keys": {ann, k.export()}, "not an armored public key": {ann, "nonsense"},
		"private key": {ann, k.run("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--armor", "--export-secret-keys", ann)},
	} {
		if _, err := signature.ParseKey(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if key := must(signature.ParseKey(strings.ToLower(ann), annKey))(t); key.ID != ann || key.Owner != "Ann <ann@example.com>" {
		t.Errorf("key %s of %q", key.ID, key.Owner)
	}
}

func TestCommitForPeople(t *testing.T) {
	s, r := server(t, gitserver.Options{})
	k := newKeyring(t)
	ann, annKey := k.key("Ann <ann@example.com>")
	first := must(r.Commit("first", gitserver.Files{"a": "1", "gone": "x"}))(t)
	id := k.commit(r, ann, "subject\n\nbody\n\nArgocd-reference-commit-sha: abc")
	k.run("git", "--git-dir", r.Dir(), "tag", "-a", "-m", "x", "v1", id)
	k.run("git", "--git-dir", r.Dir(), "tag", "v0", id)
	m := mirrors(t)
	with := repo.Repository{URL: s.URL("shop")}
	open(t, m, with, main)
	c, v, err := m.Commit(t.Context(), with, id, parseKeys(t, ann, annKey))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.ID, c.Author.String(), c.Message, strings.Join(c.Tags, " "), strings.Join(c.Parents, " "), v.String()}
	want := []string{id, "Ann <ann@example.com>", "subject\n\nbody\n\nArgocd-reference-commit-sha: abc", "v0 v1", first, "is signed by " + ann + " (Ann <ann@example.com>)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if time.Since(c.Author.At) > time.Hour || len(c.References()) != 1 {
		t.Errorf("at %s, references %v", c.Author.At, c.References())
	}
	changed := must(m.Changed(t.Context(), with, first, id))(t)
	if diff := cmp.Diff([]string{"a", "gone"}, changed); diff != "" {
		t.Errorf("changed files: %s", diff)
	}
	if _, _, err := m.Commit(t.Context(), with, "main", nil); err == nil {
		t.Error("a name is no commit id")
	}
}

func TestPolicyOf(t *testing.T) {
	gpg := func(mode string, keys ...string) *v1alpha1.SourceIntegrityGPG {
		return &v1alpha1.SourceIntegrityGPG{Mode: mode, Keys: keys}
	}
	one := func(gpg *v1alpha1.SourceIntegrityGPG, repos ...string) v1alpha1.SourceIntegrityGitPolicy {
		p := v1alpha1.SourceIntegrityGitPolicy{GPG: gpg}
		for _, r := range repos {
			p.Repos = append(p.Repos, v1alpha1.SourceIntegrityRepo{URL: r})
		}
		return p
	}
	integrity := func(p ...v1alpha1.SourceIntegrityGitPolicy) v1alpha1.AppProjectSpec {
		return v1alpha1.AppProjectSpec{SignatureKeys: []v1alpha1.SignatureKey{{KeyID: "OLD"}}, SourceIntegrity: &v1alpha1.SourceIntegrity{Git: &v1alpha1.SourceIntegrityGit{Policies: p}}}
	}
	const url = "https://host/acme/shop.git"
	for name, c := range map[string]struct {
		spec    v1alpha1.AppProjectSpec
		want    signature.Policy
		problem string
	}{
		"nothing":       {v1alpha1.AppProjectSpec{}, signature.Policy{Mode: signature.None}, ""},
		"signatureKeys": {v1alpha1.AppProjectSpec{SignatureKeys: []v1alpha1.SignatureKey{{KeyID: "A"}, {KeyID: "B"}}}, signature.Policy{Mode: signature.Head, Keys: []string{"A", "B"}}, ""},
		"strict":        {integrity(one(gpg("strict", "A"), "https://host/acme/*")), signature.Policy{Mode: signature.Strict, Keys: []string{"A"}}, ""},
		"no match":      {integrity(one(gpg("strict", "A"), "https://other/*")), signature.Policy{Mode: signature.None}, ""},
		"negated":       {integrity(one(gpg("strict", "A"), "https://host/**", "!https://host/acme/*")), signature.Policy{Mode: signature.None}, ""},
		"none":          {integrity(one(gpg("none"), "*")), signature.Policy{Mode: signature.None}, ""},
		"two":           {integrity(one(gpg("head", "A"), "*"), one(gpg("head", "A"), "https://host/**")), signature.Policy{}, "both match"},
		"no keys":       {integrity(one(gpg("head"), "*")), signature.Policy{}, "keys is empty"},
		"no gpg":        {integrity(one(nil, "*")), signature.Policy{}, "is missing"},
		"unknown mode":  {integrity(one(gpg("tail", "A"), "*")), signature.Policy{}, "none, head or strict"},
	} {
		project := &v1alpha1.AppProject{Spec: c.spec}
		got, err := signature.PolicyOf(project, url)
		if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: error %v, want %q", name, err, c.problem)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
