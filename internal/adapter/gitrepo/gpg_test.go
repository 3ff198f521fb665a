package gitrepo_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/signature"
	"github.com/sluice-cd/sluice/test/gitserver"
)

// TestAgreesWithGPG checks commits and tags signed with keys of several kinds
// both ways: "git verify-commit" is the oracle.
func TestAgreesWithGPG(t *testing.T) {
	_, r := server(t, gitserver.Options{})
	k := newKeyring(t)
	generate := func(user, kind, usage string) string {
		k.run("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", user, kind, usage, "2d")
		for _, line := range strings.Split(k.run("gpg", "--batch", "--with-colons", "--list-keys", user), "\n") {
			if fields := strings.Split(line, ":"); fields[0] == "fpr" {
				return fields[9]
			}
		}
		t.Fatalf("no key of %s", user)
		return ""
	}
	withSubkey := generate("Sub <sub@example.com>", "ed25519", "cert")
	k.run("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", withSubkey, "rsa2048", "sign", "1d")
	for name, fingerprint := range map[string]string{
		"rsa": generate("Rsa <rsa@example.com>", "rsa2048", "sign"), "nistp256": generate("P256 <p@example.com>", "nistp256", "sign"),
		"ed25519": generate("Ed <ed@example.com>", "ed25519", "sign"), "subkey": withSubkey,
	} {
		known := parseKeys(t, fingerprint, k.export(fingerprint))
		id := k.commit(r, fingerprint, "signed by "+name+"\n\nwith a body, trailing blanks  \nand ünicode")
		raw := must(exec.Command("git", "--git-dir", r.Dir(), "cat-file", "commit", id).Output())(t)
		if v := signature.Check(signature.Commit(raw), known, []string{fingerprint}, time.Now()); v.Result != signature.Good {
			t.Errorf("%s: commit %s", name, v)
		}
		k.run("git", "--git-dir", r.Dir(), "verify-commit", id)
		k.run("git", "--git-dir", r.Dir(), "-c", "user.signingkey="+fingerprint, "tag", "-s", "-m", "tag\n\nby "+name, name, id)
		tag := must(exec.Command("git", "--git-dir", r.Dir(), "cat-file", "tag", name).Output())(t)
		if v := signature.Check(signature.Tag(tag), known, []string{fingerprint}, time.Now()); v.Result != signature.Good || signature.TagTarget(tag) != id {
			t.Errorf("%s: tag %s of %s", name, v, signature.TagTarget(tag))
		}
		k.run("git", "--git-dir", r.Dir(), "verify-tag", name)
		// The same signature over other bytes.
		forged := strings.Replace(string(raw), "signed by", "Signed by", 1)
		if v := signature.Check(signature.Commit([]byte(forged)), known, nil, time.Now()); v.Result != signature.Bad {
			t.Errorf("%s: forged commit %s", name, v)
		}
		write := exec.Command("git", "--git-dir", r.Dir(), "hash-object", "-t", "commit", "-w", "--stdin")
		write.Stdin = strings.NewReader(forged)
		verify := exec.Command("git", "--git-dir", r.Dir(), "verify-commit", strings.TrimSpace(string(must(write.Output())(t))))
		verify.Env = []string{"PATH=" + os.Getenv("PATH"), "GNUPGHOME=" + k.home}
		if verify.Run() == nil {
			t.Errorf("%s: gpg accepts the forged commit", name)
		}
	}
}
