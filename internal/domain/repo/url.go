package repo

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Address is a Git URL taken apart.
type Address struct {
	// Scheme is https, http, ssh or file.
	Scheme string
	// User of the URL, without a password.
	User string
	// Host in lower case, without brackets and port; empty for file.
	Host string
	// Port as written; empty is the default of the scheme.
	Port string
	// Path with its leading slash, except after the colon of user@host:path.
	Path string
}

// Origin is what credentials belong to: scheme, host and port.
func (a Address) Origin() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := a.Port
	if port == defaultPorts[a.Scheme] {
		port = ""
	}
	if port != "" {
		host += ":" + port
	}
	return a.Scheme + "://" + host
}

var defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}

var (
	hostName = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9._-]*[a-zA-Z0-9_.])?$`)
	ipv6     = regexp.MustCompile(`^[0-9a-fA-F:.]+$`)
	userName = regexp.MustCompile(`^[a-zA-Z0-9_.+~@%][a-zA-Z0-9_.+~@%=-]*$`)
	number   = regexp.MustCompile(`^[0-9]{1,5}$`)
	scpForm  = regexp.MustCompile(`^(?:([^@/:]+)@)?(\[[^\]/]*\]|[^/:@\[\]]+):(.*)$`)
	// disguised finds characters of a path that a server may decode into
	// another path: / \ . and everything that does not print.
	disguised = regexp.MustCompile(`(?i)%(2f|5c|2e|[01][0-9a-f]|7f)`)
)

// maxURL bounds a URL in bytes.
const maxURL = 2048

// Parse takes a Git URL apart and refuses what git or a server could read in
// two ways: options, other transports, control characters, paths that climb
// (design SEC-07 and SEC-09). Errors name no password.
func Parse(raw string) (Address, error) {
	a, err := parse(raw)
	if err != nil {
		return Address{}, fmt.Errorf("repository URL %q: %w", Redact(raw), err)
	}
	return a, nil
}

func parse(raw string) (Address, error) {
	switch {
	case raw == "":
		return Address{}, errors.New("is empty: set it to the URL of a Git repository")
	case len(raw) > maxURL:
		return Address{}, fmt.Errorf("is longer than %d bytes", maxURL)
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd }):
		return Address{}, errors.New("has blanks, control characters or backslashes: take them out")
	case raw[0] == '-':
		return Address{}, errors.New("begins like an option: write a URL")
	}
	var a Address
	var err error
	if scheme, _, ok := strings.Cut(raw, "://"); ok {
		a, err = parseURL(strings.ToLower(scheme), raw)
	} else {
		a, err = parseSCP(raw)
	}
	if err != nil {
		return Address{}, err
	}
	return a, a.check()
}

func parseURL(scheme, raw string) (Address, error) {
	switch scheme {
	case "https", "http", "ssh", "file":
	default:
		return Address{}, fmt.Errorf("transport %q is not supported: use https or ssh", scheme)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Address{}, errors.New("cannot be read as a URL: write scheme://host/path")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#") {
		return Address{}, errors.New("has a query or a fragment: take it out, a revision goes into targetRevision")
	}
	a := Address{Scheme: scheme, Host: strings.ToLower(u.Hostname()), Port: u.Port(), Path: u.EscapedPath()}
	if u.User != nil {
		a.User = u.User.Username()
	}
	if scheme == "file" && a.Host != "" {
		return Address{}, errors.New("a file URL has no host: write file:///path")
	}
	return a, nil
}

func parseSCP(raw string) (Address, error) {
	m := scpForm.FindStringSubmatch(raw)
	switch {
	case m != nil && strings.HasPrefix(m[3], ":"):
		return Address{}, errors.New("helper transports are not supported: use https or ssh")
	case m == nil:
		return Address{}, errors.New("is neither a URL nor user@host:path")
	}
	return Address{Scheme: "ssh", User: m[1], Host: strings.ToLower(strings.Trim(m[2], "[]")), Path: m[3]}, nil
}

// check looks at the parts.
func (a Address) check() error {
	switch {
	case a.Scheme != "file" && !hostName.MatchString(a.Host) && !(strings.Contains(a.Host, ":") && ipv6.MatchString(a.Host)):
		return fmt.Errorf("host %q is not a host name: write an ASCII name or an address", a.Host)
	case strings.Contains(a.Host, ".."):
		return fmt.Errorf("host %q is not a host name", a.Host)
	case a.Port != "" && !number.MatchString(a.Port):
		return fmt.Errorf("port %q is not a number", a.Port)
	case a.Scheme == "ssh" && a.User != "" && !userName.MatchString(a.User):
		return errors.New("the user of the URL is not valid")
	case strings.Trim(a.Path, "/") == "":
		return errors.New("names no repository: add its path")
	case a.Path[0] == '-':
		return errors.New("the path begins like an option")
	case disguised.MatchString(a.Path):
		return errors.New("the path hides slashes, dots or control characters behind %: write them plainly")
	}
	for part := range strings.SplitSeq(a.Path, "/") {
		if part == ".." || part == "." {
			return errors.New("the path climbs with . or ..: write where it leads")
		}
	}
	return nil
}

// Normalize gives the form in which two spellings of a repository URL are
// compared: trimmed, lower case, without ".git", password, default port and
// double slashes, scp-style SSH as a path and without the ssh scheme
// (spec/config.md §6.2). It is for matching, never for connecting: hosts may
// tell apart what it makes equal. Patterns pass through it, too.
func Normalize(raw string) string {
	n := trimEnd(strings.ToLower(strings.TrimSpace(raw)))
	scheme, rest, isURL := strings.Cut(n, "://")
	if !isURL {
		if m := scpForm.FindStringSubmatch(n); m != nil && m[1] != "" && !strings.HasPrefix(m[3], ":") {
			return trimEnd(m[1] + "@" + trimDot(m[2]) + "/" + squeeze(strings.TrimLeft(m[3], "/")))
		}
		return n
	}
	authority, path, hasPath := strings.Cut(rest, "/")
	if hasPath {
		path = "/" + squeeze(strings.TrimLeft(path, "/"))
	}
	at := strings.LastIndex(authority, "@")
	user, host := authority[:max(at, 0)], authority[at+1:]
	host, hasDefault := strings.CutSuffix(host, ":"+defaultPorts[scheme])
	host = trimDot(host)
	switch scheme {
	case "http", "https":
		return trimEnd(scheme + "://" + host + path)
	case "ssh":
		if user, _, _ = strings.Cut(user, ":"); user != "" {
			host = user + "@" + host
		}
		if !hasDefault && hasPort(host) || user == "" {
			return trimEnd("ssh://" + host + path)
		}
		return trimEnd(host + path)
	}
	return n
}

func hasPort(host string) bool {
	colon := strings.LastIndex(host, ":")
	return colon > strings.LastIndex(host, "]") && colon >= 0
}

// trimDot drops the dot after a complete host name.
func trimDot(host string) string {
	if name, port, ok := strings.Cut(host, ".:"); ok && number.MatchString(port) {
		return trimDot(name) + ":" + port
	}
	return strings.TrimRight(host, ".")
}

// trimEnd drops slashes and .git, however often, and space around.
func trimEnd(n string) string {
	for {
		shorter := strings.TrimSuffix(strings.TrimRight(strings.TrimSpace(n), "/"), ".git")
		if shorter == n {
			return n
		}
		n = shorter
	}
}

// squeeze makes one slash of several.
func squeeze(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// Covers says that a template for prefix may serve url: the same scheme, host
// and port, and a path below. A template that ends in a slash covers whole
// path segments only; else the path is compared by letters, as Argo CD does.
func Covers(prefix, url string) bool {
	p, u := Normalize(prefix), Normalize(url)
	rest, ok := strings.CutPrefix(u, p)
	if !ok {
		return false
	}
	whole := strings.HasSuffix(strings.TrimSpace(prefix), "/") || !strings.Contains(afterScheme(p), "/")
	return rest == "" || !whole || strings.HasPrefix(rest, "/")
}

func afterScheme(n string) string {
	if _, rest, ok := strings.Cut(n, "://"); ok {
		return rest
	}
	return n
}

// HostOf is the host of any repository URL in lower case, without user and
// port, as keys of argocd-tls-certs-cm name it; empty when there is none.
func HostOf(raw string) string {
	if a, err := parse(strings.TrimSpace(raw)); err == nil {
		return a.Host
	}
	authority, _, _ := strings.Cut(afterScheme(strings.ToLower(strings.TrimSpace(raw))), "/")
	host := authority[strings.LastIndex(authority, "@")+1:]
	if inner, _, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && strings.HasPrefix(host, "[") {
		return inner
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}

// Redact removes secrets from a repository URL, for messages and metrics.
func Redact(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndex(rest[:end], "@")
	if u, err := url.Parse(raw); err != nil || u.Host == "" {
		at = strings.LastIndex(rest, "@") // where the host begins is anybody's guess
	}
	if at < 0 {
		return raw
	}
	user := ""
	if strings.EqualFold(scheme, "ssh") && at < end {
		name, _, _ := strings.Cut(rest[:at], ":")
		user = name + "@"
	}
	return scheme + "://" + user + rest[at+1:]
}

// Relative resolves the URL of a submodule against that of the repository that
// names it, as git does: only ./ and ../ are relative.
func Relative(parent, child string) (string, error) {
	if !strings.HasPrefix(child, "./") && !strings.HasPrefix(child, "../") {
		return child, nil
	}
	base := strings.TrimRight(parent, "/")
	for {
		if rest, ok := strings.CutPrefix(child, "./"); ok {
			child = rest
			continue
		}
		rest, ok := strings.CutPrefix(child, "../")
		if !ok {
			return base + "/" + child, nil
		}
		cut := strings.LastIndex(base, "/")
		root := strings.Index(base, "://")
		if cut <= root+2 {
			if colon := strings.LastIndex(base, ":"); root < 0 && colon >= 0 {
				return base[:colon+1] + rest, nil
			}
			return "", fmt.Errorf("submodule URL leaves the host of %s", Redact(parent))
		}
		base, child = base[:cut], rest
	}
}
