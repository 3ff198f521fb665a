package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// errTimeout marks a git that did not answer in time.
var errTimeout = errors.New("no answer in time")

// command prepares git in dir; it dies with ctx, and with this process.
func (e endpoint) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // fixed verbs; user values follow "--"
	cmd.Dir, cmd.Env = dir, e.vars
	cmd.WaitDelay = 2 * time.Second
	bindToParent(cmd)
	return cmd
}

// run executes git and returns its output; errors carry git's own words
// without secrets.
func (e endpoint) run(ctx context.Context, limit time.Duration, dir string, args ...string) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := e.command(bounded, dir, args...)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &limited{buffer: &problem, rest: 8 << 10}
	err := cmd.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("git %s: %w", args[0], ctx.Err())
	case bounded.Err() != nil:
		return nil, fmt.Errorf("git %s: %w (%s)", args[0], errTimeout, limit)
	}
	return nil, fmt.Errorf("git %s: %s", args[0], explain(problem.String(), err))
}

// limited keeps the first bytes written to it.
type limited struct {
	buffer *bytes.Buffer
	rest   int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.rest)
	l.rest -= n
	l.buffer.Write(p[:n])
	return len(p), nil
}

// remedies say what to do about the failures that people meet most.
var remedies = []struct{ says, do string }{
	{"Host key verification failed", "add the key of the host to argocd-ssh-known-hosts-cm"},
	{"Permission denied (publickey", "check sshPrivateKey in the Secret of the repository"},
	{"could not read Username", "add a Secret with username and password for the repository"},
	{"Authentication failed", "check username and password in the Secret of the repository"},
	{"SSL certificate problem", "add the certificate authority to argocd-tls-certs-cm"},
	{"not found", "check the URL and that the credentials may read it"},
}

// explain turns what git wrote into one line: the first fatal line, for ssh
// the words before it, and a remedy where there is a usual one.
func explain(text string, fallback error) string {
	said := ""
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		fatal, isFatal := strings.CutPrefix(line, "fatal: ")
		switch {
		case line == "" || strings.HasPrefix(line, "Please make sure") || strings.HasPrefix(line, "and the repository exists"):
		case isFatal && fatal == "Could not read from remote repository." && said != "":
		case isFatal:
			said = fatal
		case said == "" || !strings.HasPrefix(line, "remote:"):
			said = line
		}
		if isFatal && said == fatal {
			break
		}
	}
	if said == "" {
		said = fallback.Error()
	}
	for _, r := range remedies {
		if strings.Contains(text, r.says) {
			return scrub(said) + ": " + r.do
		}
	}
	return scrub(said)
}

// scrub removes secrets from the URLs inside a text.
func scrub(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		bare := strings.Trim(w, "'\":,")
		if strings.Contains(bare, "://") && strings.Contains(bare, "@") {
			words[i] = strings.Replace(w, bare, Redact(bare), 1)
		}
	}
	return strings.Join(words, " ")
}
