package gitrepo

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Kinds of failures that are treated in their own way.
var (
	// errTimeout marks a git that did not answer in time.
	errTimeout = errors.New("no answer in time")
	// errOutput marks an answer that is too large.
	errOutput = errors.New("answer too large")
	// errRefused marks credentials that the remote does not accept, and
	// repositories that it does not show to them.
	errRefused = errors.New("refused")
	// errThrottled marks a remote that asks for fewer requests.
	errThrottled = errors.New("too many requests")
	// errMoved marks a redirect, which git is not let to follow.
	errMoved = errors.New("moved")
	// errFull marks a full disk, or a limit of ours on its use.
	errFull = errors.New("disk full")
	// errRemote marks other failures that have nothing to do with the mirror.
	errRemote = errors.New("remote failed")
)

// gitError is a git that failed, in words for whoever can change it.
type gitError struct {
	verb, said string
	kind       error // one of the above, or nil: unknown
}

func (e *gitError) Error() string { return fmt.Sprintf("git %s: %s", e.verb, e.said) }
func (e *gitError) Unwrap() error { return e.kind }

// remedies say what to do about the failures that people meet most.
var remedies = []struct {
	says, do string
	kind     error
}{
	{"No space left on device", "the volume of the mirrors is full: enlarge it, or bound the mirrors with --mirror-disk-budget", errFull},
	{"Disk quota exceeded", "the volume of the mirrors is full: enlarge it, or bound the mirrors with --mirror-disk-budget", errFull},
	{"Out of memory", "an object of the repository needs more memory than git may use: take it out of the history, or raise --git-memory", errFull},
	{"Host key verification failed", "add the key of the host to argocd-ssh-known-hosts-cm", errRefused},
	{"Permission denied (publickey", "check sshPrivateKey in the Secret of the repository", errRefused},
	{"could not read Username", "add a Secret with username and password for the repository", errRefused},
	{"could not read Password", "check username and password in the Secret of the repository", errRefused},
	{"Authentication failed", "check username and password in the Secret of the repository", errRefused},
	{"returned error: 401", "check the credentials in the Secret of the repository", errRefused},
	{"returned error: 403", "check that the credentials may read the repository", errRefused},
	{"returned error: 429", "the host asks for fewer requests: it is asked again later", errThrottled},
	{"SSL certificate problem", "add the certificate authority to argocd-tls-certs-cm", errRemote},
	{"server certificate verification failed", "add the certificate authority to argocd-tls-certs-cm", errRemote},
	{"certificate subject name", "the certificate is for another host: correct the URL or the certificate", errRemote},
	{"Could not resolve", "correct the host in the URL, or the DNS of this process", errRemote},
	{"Connection refused", "start the server, or correct host and port in the URL", errRemote},
	{"' not found", "check the URL and that the credentials may read it", errRefused},
	{"epository not found", "check the URL and that the credentials may read it", errRefused},
	{"could not be found", "check the URL and that the credentials may read it", errRefused},
	{"does not appear to be a git repository", "check the URL and that the credentials may read it", errRefused},
	{"returned error: 5", "the server has a problem of its own", errRemote},
	{"unable to access", "check the URL, the proxy and the network", errRemote},
	{"Could not read from remote repository", "check the URL, the credentials and the network", errRemote},
	{"early EOF", "the connection broke: it is tried again", errRemote},
	{"unexpected disconnect", "the connection broke: it is tried again", errRemote},
	{"the remote end hung up", "the connection broke: it is tried again", errRemote},
	{"RPC failed", "the connection broke: it is tried again", errRemote},
	{"fsck error", "the repository has a malformed object: repair it with git fsck and a new push", errRemote},
}

var (
	progress   = regexp.MustCompile(`^(remote: )?[A-Z][A-Za-z -]+:\s+\d+`)
	redirected = regexp.MustCompile(`returned error: 30[12378]`)
)

// explain turns what git wrote into one line: the first fatal line, for ssh
// the words before it, and a remedy where there is a usual one.
func (g git) explain(verb, text string, maxFile int64, fallback error) *gitError {
	said := g.hide(spoken(text))
	e := &gitError{verb: verb, said: said}
	switch {
	case said == "":
		e.said = fallback.Error()
	case redirected.MatchString(text):
		e.kind = errMoved
		return e
	case maxFile > 0 && (strings.Contains(text, "File too large") || strings.HasPrefix(said, "fetch-pack: invalid index-pack output")):
		// index-pack ended without a word: the limit of file sizes, or of memory
		e.said, e.kind = fmt.Sprintf("the pack is larger than %d bytes, the most that one fetch may bring: raise --mirror-max-pack, or use partialClone", maxFile), errFull
		return e
	}
	for _, r := range remedies {
		if strings.Contains(text, r.says) {
			e.said, e.kind = e.said+": "+r.do, r.kind
			return e
		}
	}
	return e
}

// spoken finds the line that says what is wrong.
func spoken(text string) string {
	said := ""
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		fatal, isFatal := strings.CutPrefix(line, "fatal: ")
		if at := strings.Index(line, "ssh through "); at >= 0 {
			return line[at:] // our own words, see Tunnel: ssh only says that it was closed
		}
		switch {
		case line == "" || progress.MatchString(line):
		case strings.HasPrefix(line, "Cloning into ") || strings.HasPrefix(line, "Please make sure") || strings.HasPrefix(line, "and the repository exists"):
		case isFatal && fatal == "Could not read from remote repository." && said != "":
		case isFatal:
			return fatal
		case said == "" || !strings.HasPrefix(line, "remote:"):
			said = line
		}
	}
	return said
}

func isRedirect(err error) bool { return errors.Is(err, errMoved) }

// scrub removes secrets from the URLs inside a text.
func scrub(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		bare := strings.Trim(w, "'\":,")
		if strings.Contains(bare, "://") && strings.Contains(bare, "@") {
			words[i] = strings.Replace(w, bare, repo.Redact(bare), 1)
		}
	}
	return strings.Join(words, " ")
}
