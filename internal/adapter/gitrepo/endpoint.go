package gitrepo

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Redact removes secrets from a repository URL, for messages and metrics.
func Redact(raw string) string {
	if !strings.Contains(raw, "://") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		scheme, rest, _ := strings.Cut(raw, "://")
		return scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
	}
	switch {
	case u.User == nil:
		return raw
	case u.Scheme == "ssh":
		u.User = url.User(u.User.Username())
	default:
		u.User = nil
	}
	return u.String()
}

// endpoint is where git goes and what it carries. Nothing in url is secret.
type endpoint struct {
	url  string
	vars []string
}

// newEndpoint prepares access to r; dir is a private folder for its keys.
// Configuration goes through GIT_CONFIG_COUNT so that no secret is an argument.
func newEndpoint(r repo.Repository, dir string, extra []string) (endpoint, error) {
	target, user, password := splitUser(r)
	config := [][2]string{
		{"protocol.allow", "never"}, {"protocol.https.allow", "always"}, {"protocol.http.allow", "always"},
		{"protocol.ssh.allow", "always"}, {"protocol.file.allow", "always"},
		{"protocol.version", "2"}, {"gc.auto", "0"}, {"maintenance.auto", "false"}, {"core.hooksPath", "/dev/null"},
		{"credential.helper", ""}, {"safe.directory", "*"},
		{"http.followRedirects", "initial"}, {"http.lowSpeedLimit", "1000"}, {"http.lowSpeedTime", "20"},
	}
	if header := authorization(r.BearerToken, user, password); header != "" {
		config = append(config, [2]string{"http." + origin(target) + ".extraHeader", header})
	}
	if r.Insecure {
		config = append(config, [2]string{"http.sslVerify", "false"})
	}
	if r.Proxy != "" {
		config = append(config, [2]string{"http.proxy", r.Proxy})
	}
	files, err := writeSecrets(r, dir)
	if err != nil {
		return endpoint{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(tlsFiles)) {
		if file, ok := files[tlsFiles[key]]; ok {
			config = append(config, [2]string{key, file})
		}
	}
	e := endpoint{url: target, vars: slices.Clone(extra)}
	e.vars = append(e.vars,
		"PATH="+os.Getenv("PATH"), "HOME="+dir, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_SSH_COMMAND="+sshCommand(r, files), "GIT_SSH_VARIANT=ssh", fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(config)))
	if r.NoProxy != "" {
		e.vars = append(e.vars, "NO_PROXY="+r.NoProxy, "no_proxy="+r.NoProxy)
	}
	for i, kv := range config {
		e.vars = append(e.vars, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	return e, nil
}

// splitUser takes credentials out of an http URL; declared ones win.
func splitUser(r repo.Repository) (target, user, password string) {
	target, user, password = r.URL, r.Username, r.Password
	u, err := url.Parse(r.URL)
	if err != nil || u.User == nil || (u.Scheme != "http" && u.Scheme != "https") {
		return target, user, password
	}
	if user == "" && password == "" {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	u.User = nil
	return u.String(), user, password
}

// origin is scheme and host of a URL: a header goes nowhere else.
func origin(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return "https://invalid"
	}
	return u.Scheme + "://" + u.Host
}

func authorization(bearer, user, password string) string {
	switch {
	case bearer != "":
		return "Authorization: Bearer " + bearer
	case user != "" || password != "":
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	return ""
}

// tlsFiles are the files of writeSecrets that git's http transport reads.
var tlsFiles = map[string]string{"http.sslCert": "client.crt", "http.sslKey": "client.key", "http.sslCAInfo": "ca.crt"}

// writeSecrets puts keys and certificates into private files.
func writeSecrets(r repo.Repository, dir string) (map[string]string, error) {
	written := map[string]string{}
	for name, content := range map[string]string{
		"id": r.SSHPrivateKey, "known_hosts": r.KnownHosts, "client.crt": r.TLSClientCertData,
		"client.key": r.TLSClientCertKey, "ca.crt": r.CAData,
	} {
		if content == "" {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.TrimRight(content, "\n")+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("credentials of repository %s: %w", Redact(r.URL), err)
		}
		written[name] = file
	}
	return written, nil
}

// sshCommand is what git starts for ssh. Git passes it to a shell, so every
// word is quoted; none of them comes from outside but the folder's name.
func sshCommand(r repo.Repository, files map[string]string) string {
	words := []string{"ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no"}
	key, hosts := "none", "/dev/null"
	if f, ok := files["id"]; ok {
		key = f
	}
	if f, ok := files["known_hosts"]; ok && !r.Insecure {
		hosts = f
	}
	strict := "yes"
	if r.Insecure {
		strict = "no"
	}
	words = append(words, "-o", "IdentityFile="+option(key), "-o", "UserKnownHostsFile="+option(hosts), "-o", "StrictHostKeyChecking="+strict)
	for i, w := range words {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// option quotes a file name for ssh's own reading of an option.
func option(file string) string {
	return `"` + strings.NewReplacer("%", "%%", `"`, `\"`, `\`, `\\`).Replace(file) + `"`
}
