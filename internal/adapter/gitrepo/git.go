package gitrepo

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Redact removes user information from a repository URL.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil || u.Scheme == "ssh" {
		return raw
	}
	u.User = nil
	return u.String()
}

// environment holds what git needs to reach one repository.
type environment struct {
	vars  []string
	files string // private folder with key and known hosts; "" when none
}

// newEnvironment builds the variables for r. Configuration goes through
// GIT_CONFIG_COUNT so that no secret is an argument.
func newEnvironment(r repo.Repository, dir string) (environment, error) {
	config := [][2]string{
		{"protocol.allow", "never"}, {"protocol.https.allow", "always"}, {"protocol.http.allow", "always"},
		{"protocol.ssh.allow", "always"}, {"protocol.file.allow", "always"},
		{"protocol.version", "2"}, {"gc.auto", "0"}, {"core.hooksPath", "/dev/null"}, {"safe.directory", "*"},
		{"http.followRedirects", "initial"}, {"http.lowSpeedLimit", "1000"}, {"http.lowSpeedTime", "20"},
	}
	if header := authorization(r); header != "" {
		config = append(config, [2]string{"http.extraHeader", header})
	}
	if r.Insecure {
		config = append(config, [2]string{"http.sslVerify", "false"})
	}
	if r.Proxy != "" {
		config = append(config, [2]string{"http.proxy", r.Proxy})
	}
	env := environment{files: dir}
	extra, err := env.secrets(r)
	if err != nil {
		return env, err
	}
	config = append(config, extra...)
	env.vars = append(env.vars,
		"PATH="+os.Getenv("PATH"), "HOME="+dir, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT="+fmt.Sprint(len(config)))
	for i, kv := range config {
		env.vars = append(env.vars, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	return env, nil
}

func authorization(r repo.Repository) string {
	switch {
	case r.BearerToken != "":
		return "Authorization: Bearer " + r.BearerToken
	case r.Username != "" || r.Password != "":
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(r.Username+":"+r.Password))
	}
	return ""
}

// secrets writes keys and certificates to private files and names them.
func (e *environment) secrets(r repo.Repository) ([][2]string, error) {
	var config [][2]string
	files := map[string]string{
		"id": r.SSHPrivateKey, "known_hosts": r.KnownHosts, "client.crt": r.TLSClientCertData,
		"client.key": r.TLSClientCertKey, "ca.crt": r.CAData,
	}
	for name, content := range files {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(e.files, name), []byte(strings.TrimRight(content, "\n")+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("credentials of %s: %w", Redact(r.URL), err)
		}
	}
	for key, file := range map[string]string{"http.sslCert": "client.crt", "http.sslKey": "client.key", "http.sslCAInfo": "ca.crt"} {
		if files[file] != "" {
			config = append(config, [2]string{key, filepath.Join(e.files, file)})
		}
	}
	ssh := []string{"ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "IdentitiesOnly=yes"}
	if r.SSHPrivateKey != "" {
		ssh = append(ssh, "-i", filepath.Join(e.files, "id"))
	}
	if r.Insecure {
		ssh = append(ssh, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
	} else {
		ssh = append(ssh, "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+filepath.Join(e.files, "known_hosts"))
	}
	e.vars = append(e.vars, "GIT_SSH_COMMAND="+strings.Join(ssh, " "), "GIT_SSH_VARIANT=ssh")
	return config, nil
}

// errTimeout marks a git that did not answer in time.
var errTimeout = errors.New("no answer in time")

// run executes git and returns its output; errors carry git's own words
// without secrets.
func (e environment) run(ctx context.Context, limit time.Duration, dir string, args ...string) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(bounded, "git", args...) //nolint:gosec // fixed verbs; user values follow "--"
	cmd.Dir, cmd.Env = dir, e.vars
	cmd.WaitDelay = 2 * time.Second
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &limited{buffer: &problem, rest: 8 << 10}
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if bounded.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("git %s: %w (%s)", args[0], errTimeout, limit)
	}
	return nil, fmt.Errorf("git %s: %s", args[0], lastLine(problem.String(), err))
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

// lastLine picks the telling line of git's words.
func lastLine(text string, fallback error) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "fatal:") || strings.HasPrefix(l, "ERROR:") {
			return scrub(strings.TrimSpace(strings.TrimPrefix(l, "fatal:")))
		}
	}
	if last := lines[len(lines)-1]; last != "" {
		return scrub(last)
	}
	return fallback.Error()
}

// scrub removes user information from URLs inside a text.
func scrub(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		bare := strings.Trim(w, "'\"")
		if strings.Contains(bare, "://") && strings.Contains(bare, "@") {
			words[i] = strings.Replace(w, bare, Redact(bare), 1)
		}
	}
	return strings.Join(words, " ")
}
