package gitrepo

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// endpoint is where git goes and what it carries. Secrets are in private files
// that git and ssh read: not in arguments, not in the environment, not in URLs.
type endpoint struct {
	git
	repository repo.Repository
	address    repo.Address
	dir        string
	files      map[string]string
	token      tokenSource // of a GitHub App; nil without one
	client     *http.Client
	allowFile  bool
	tunnel     []string

	mu      sync.Mutex
	url     string // no secret in it
	written string // the header in the configuration file
}

// newEndpoint prepares access to r; dir is a private folder for its secrets.
func newEndpoint(r repo.Repository, address repo.Address, dir string, o Options) (*endpoint, error) {
	target, user, password := splitUser(r)
	proxied := sshProxy(r, address)
	if proxied != "" && len(o.Tunnel) == 0 {
		return nil, fmt.Errorf("repository %s: ssh through a proxy is not available here", repo.Redact(r.URL))
	}
	files, err := writeSecrets(r, proxied, dir)
	if err != nil {
		return nil, err
	}
	hidden := newHider(r, user, password)
	config := filepath.Join(dir, "config")
	e := &endpoint{git: newGit(o, dir, config), repository: r, address: address, dir: dir, files: files, url: target, allowFile: o.AllowFile, tunnel: o.Tunnel}
	e.git.hide = hidden.hide
	e.vars = append(e.vars, "GIT_SSH_COMMAND="+sshCommand(r, files, o.Tunnel), "GIT_SSH_VARIANT=ssh")
	if r.NoProxy != "" {
		e.vars = append(e.vars, "NO_PROXY="+r.NoProxy, "no_proxy="+r.NoProxy)
	}
	if e.client, err = newClient(r, o.Environment); err != nil {
		return nil, fmt.Errorf("repository %s: %w", repo.Redact(r.URL), err)
	}
	if r.GitHubApp.PrivateKey != "" {
		if e.token, err = newGitHubApp(r, address, e.client, o.Clock); err != nil {
			return nil, fmt.Errorf("repository %s: %w", repo.Redact(r.URL), err)
		}
	}
	header, err := authorization(r.BearerToken.Reveal(), user, password)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", repo.Redact(r.URL), err)
	}
	return e, e.configure(header)
}

// target is the URL to give to git.
func (e *endpoint) target() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.url
}

// origin is what limits and credentials go by.
func (e *endpoint) origin() string { return e.address.Origin() }

// header is the Authorization header for the origin of the repository, "" when
// there is none.
func (e *endpoint) header() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.written
}

// refresh brings credentials up to date that last only for a while.
func (e *endpoint) refresh(ctx context.Context) error {
	if err := e.restore(); err != nil || e.token == nil {
		return err
	}
	token, err := e.token.Token(ctx)
	if err != nil {
		return err
	}
	header, err := authorization("", "x-access-token", token)
	if err != nil || header == e.header() {
		return err
	}
	return e.configure(header)
}

// restore writes the secrets again that were removed because nobody used them
// for a while. Git without its configuration would take any transport.
func (e *endpoint) restore() error {
	if _, err := os.Stat(filepath.Join(e.dir, "config")); err == nil {
		return nil
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("credentials of repository %s: %w", e.repository, err)
	}
	if _, err := writeSecrets(e.repository, sshProxy(e.repository, e.address), e.dir); err != nil {
		return err
	}
	return e.configure(e.header())
}

// configure writes the configuration file of git, whole or not at all.
func (e *endpoint) configure(header string) error {
	r := e.repository
	c := baseConfig(e.allowFile)
	c.set("http", "", "followRedirects", "false")
	c.set("http", "", "lowSpeedLimit", "1000")
	c.set("http", "", "lowSpeedTime", "25")
	if header != "" {
		c.set("http", e.origin(), "extraHeader", header)
	}
	if r.Insecure {
		c.set("http", "", "sslVerify", "false")
	}
	if r.Proxy != "" {
		c.set("http", "", "proxy", r.Proxy.Reveal())
	}
	for _, f := range []struct{ key, file string }{{"sslCert", "client.crt"}, {"sslKey", "client.key"}, {"sslCAInfo", "ca.crt"}} {
		if path, ok := e.files[f.file]; ok {
			c.set("http", "", f.key, path)
		}
	}
	file := filepath.Join(e.dir, "config")
	if err := errors.Join(os.WriteFile(file+".new", []byte(c.text()), 0o600), os.Rename(file+".new", file)); err != nil {
		return fmt.Errorf("credentials of repository %s: %w", r, err)
	}
	e.mu.Lock()
	e.written = header
	e.mu.Unlock()
	return nil
}

// configFile is text in git's format for configuration.
type configFile struct{ b strings.Builder }

func (c *configFile) set(section, sub, key, value string) {
	if sub != "" {
		section += ` "` + quoted(sub) + `"`
	}
	fmt.Fprintf(&c.b, "[%s]\n\t%s = \"%s\"\n", section, key, quoted(value))
}

func quoted(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

func (c *configFile) text() string { return c.b.String() }

// lenient are flaws of old objects that harm nobody: many public repositories
// have some.
var lenient = []string{
	"badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "emptyName", "missingEmail", "missingNameBeforeEmail",
	"missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "nulInCommit", "zeroPaddedDate", "zeroPaddedFilemode",
	"missingTaggerEntry", "badTagName", "extraHeaderEntry", "gitmodulesParse", "gitignoreSymlink", "gitattributesSymlink", "mailmapSymlink",
}

// baseConfig is what holds for every git (design SEC-07).
func baseConfig(allowFile bool) *configFile {
	c := &configFile{}
	c.set("protocol", "", "allow", "never")
	for _, p := range []string{"https", "http", "ssh"} {
		c.set("protocol", p, "allow", "always")
	}
	if allowFile {
		c.set("protocol", "file", "allow", "always")
	}
	for _, kv := range [][3]string{
		{"protocol", "version", "2"}, {"gc", "auto", "0"}, {"maintenance", "auto", "false"}, {"core", "hooksPath", "/dev/null"},
		{"core", "fsmonitor", "false"}, {"core", "attributesFile", "/dev/null"}, {"core", "excludesFile", "/dev/null"},
		{"credential", "helper", ""}, {"safe", "directory", "*"}, {"transfer", "fsckObjects", "true"}, {"transfer", "bundleURI", "false"},
		{"fetch", "writeCommitGraph", "false"}, {"fetch", "recurseSubmodules", "false"}, {"advice", "detachedHead", "false"},
		{"pack", "threads", "1"}, {"pack", "windowMemory", "64m"}, {"core", "bigFileThreshold", "64m"}, {"init", "defaultBranch", "main"},
	} {
		c.set(kv[0], "", kv[1], kv[2])
	}
	for _, id := range lenient {
		c.set("fetch", "fsck", id, "ignore")
	}
	return c
}

// splitUser takes credentials out of an http URL; declared ones win. A
// password in an ssh URL is of no use to ssh, which would only show it in the
// arguments of git and of its own: it is dropped.
func splitUser(r repo.Repository) (target, user, password string) {
	target, user, password = r.URL, r.Username, r.Password.Reveal()
	u, err := url.Parse(r.URL)
	if err != nil || u.User == nil {
		return target, user, password
	}
	if !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https") {
		if _, useless := u.User.Password(); useless {
			u.User = url.User(u.User.Username())
			target = u.String()
		}
		return target, user, password
	}
	if user == "" && password == "" {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	u.User = nil
	return u.String(), user, password
}

func authorization(bearer, user, password string) (string, error) {
	switch {
	case strings.ContainsFunc(bearer, func(r rune) bool { return r < ' ' }):
		return "", errors.New("bearerToken in the Secret of the repository has line breaks: write it on one line")
	case bearer != "":
		return "Authorization: Bearer " + bearer, nil
	case user != "" || password != "":
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), nil
	}
	return "", nil
}

// writeSecrets puts keys and certificates into private files.
func writeSecrets(r repo.Repository, proxied, dir string) (map[string]string, error) {
	written := map[string]string{}
	for name, content := range map[string]string{
		"id": r.SSHPrivateKey.Reveal(), "known_hosts": r.KnownHosts, "client.crt": r.TLSClientCertData,
		"client.key": r.TLSClientCertKey.Reveal(), "ca.crt": r.CAData, "proxy": proxied,
	} {
		if content == "" {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.TrimRight(content, "\n")+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("credentials of repository %s: %w", repo.Redact(r.URL), err)
		}
		written[name] = file
	}
	return written, nil
}

// sshWords is the ssh command with everything that a machine or a user might
// have configured switched off.
func sshWords(r repo.Repository, files map[string]string, tunnel []string) []string {
	words := []string{
		"ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no",
		"-o", "ForwardAgent=no", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no",
	}
	key, hosts, strict := "none", "/dev/null", "yes"
	if f, ok := files["id"]; ok {
		key = f
	}
	if f, ok := files["known_hosts"]; ok && !r.Insecure {
		hosts = f
	}
	if r.Insecure {
		strict = "no"
	}
	if f, ok := files["proxy"]; ok {
		words = append(words, "-o", "ProxyCommand="+shellWords(append(slices.Clone(tunnel), f), true)+" '%h:%p'")
	}
	return append(words, "-o", "IdentityFile="+option(key), "-o", "UserKnownHostsFile="+option(hosts), "-o", "StrictHostKeyChecking="+strict)
}

// sshCommand is what git starts for ssh. Git passes it to a shell, so every
// word is quoted; none of them comes from outside but the folder's name.
func sshCommand(r repo.Repository, files map[string]string, tunnel []string) string {
	return shellWords(sshWords(r, files, tunnel), false)
}

// shellWords quotes words for a shell; with percent, ssh reads them before it.
func shellWords(words []string, percent bool) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if percent {
			w = strings.ReplaceAll(w, "%", "%%")
		}
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// option quotes a file name for ssh's own reading of an option.
func option(file string) string {
	return `"` + strings.NewReplacer("%", "%%", `"`, `\"`, `\`, `\\`).Replace(file) + `"`
}

// hider takes the values of secrets out of texts, also where a server sends
// them back.
type hider struct{ replacer *strings.Replacer }

// minHidden is the least length of a secret that is replaced inside texts: a
// shorter one would take words apart, and is no secret worth the name.
const minHidden = 4

func newHider(r repo.Repository, user, password string) hider {
	app := r.GitHubApp.PrivateKey.Reveal()
	values := []string{password, r.Password.Reveal(), r.BearerToken.Reveal()}
	if password != "" {
		values = append(values, base64.StdEncoding.EncodeToString([]byte(user+":"+password)), url.QueryEscape(password), url.PathEscape(password))
	}
	if u, err := url.Parse(r.Proxy.Reveal()); err == nil && u.User != nil {
		secret, _ := u.User.Password()
		values = append(values, secret)
	}
	for _, pem := range []string{r.SSHPrivateKey.Reveal(), r.TLSClientCertKey.Reveal(), app} {
		for line := range strings.Lines(pem) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				values = append(values, line)
			}
		}
	}
	values = slices.DeleteFunc(values, func(v string) bool { return len(v) < minHidden })
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, v := range values {
		pairs = append(pairs, v, "***")
	}
	return hider{strings.NewReplacer(pairs...)}
}

func (h hider) hide(text string) string { return scrub(h.replacer.Replace(text)) }
