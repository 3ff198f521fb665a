package notice

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Subject is what a notification is about.
type Subject struct {
	// App is the Application as stored, Project its AppProject; empty when there
	// is none.
	App, Project map[string]any
	Context      map[string]string
	// Secrets are the data of argocd-notifications-secret.
	Secrets map[string][]byte
	// Now is the clock.
	Now func() time.Time
}

// variables are what conditions and templates see (spec/observability.md §4.2,
// §4.3).
func (s *Subject) variables() map[string]any {
	project, app := s.Project, s.App
	if project == nil {
		project = map[string]any{}
	}
	if app == nil {
		app = map[string]any{}
	}
	return map[string]any{
		"app": app, "appProject": project, "context": s.Context, "secrets": s.Secrets,
		"time": s.times(), "strings": texts, "repo": repository, "sync": map[string]any{"GetInfoItem": infoItem},
	}
}

func (s *Subject) times() map[string]any {
	return map[string]any{
		"Now":   func() time.Time { return s.Now() },
		"Parse": func(text string) (time.Time, error) { return time.Parse(time.RFC3339, text) },

		"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
		"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,

		"Layout": time.Layout, "ANSIC": time.ANSIC, "UnixDate": time.UnixDate, "RubyDate": time.RubyDate, "RFC822": time.RFC822, "RFC822Z": time.RFC822Z,
		"RFC850": time.RFC850, "RFC1123": time.RFC1123, "RFC1123Z": time.RFC1123Z, "RFC3339": time.RFC3339, "RFC3339Nano": time.RFC3339Nano,
		"Kitchen": time.Kitchen, "Stamp": time.Stamp, "StampMilli": time.StampMilli, "StampMicro": time.StampMicro, "StampNano": time.StampNano,
	}
}

var texts = map[string]any{"ReplaceAll": replaceAll, "ToUpper": upper, "ToLower": lower}

func upper(text string) (string, error) { return strings.ToUpper(text), small(len(text)) }
func lower(text string) (string, error) { return strings.ToLower(text), small(len(text)) }

func small(n int) error {
	if n > maxValue {
		return fmt.Errorf("makes a value of more than %d bytes", maxValue)
	}
	return nil
}

func replaceAll(text, before, after string) (string, error) {
	if err := small(len(text) + strings.Count(text, before)*len(after)); err != nil {
		return "", err
	}
	return strings.ReplaceAll(text, before, after), nil
}

// repository are the functions about repositories. Those that need one say so:
// whoever evaluates here has none at hand.
var repository = map[string]any{
	"RepoURLToHTTPS": httpsURL, "FullNameByRepoURL": fullName, "QueryEscape": url.QueryEscape,
	"GetCommitMetadata": func(string) (map[string]any, error) { return nil, errNoRepository("GetCommitMetadata") },
	"GetAppDetails":     func() (map[string]any, error) { return nil, errNoRepository("GetAppDetails") },
}

func errNoRepository(function string) error {
	return fmt.Errorf("repo.%s asks the repository, which is not asked here: put it into an if, or leave it out", function)
}

// httpsURL is the address of a repository for browsers, without a user; that of
// a web server stays on its port, that of an SSH server does not.
func httpsURL(address string) (string, error) {
	host, path, err := split(address)
	if err != nil {
		return "", err
	}
	return "https://" + host + "/" + path, nil
}

// fullName is OWNER/NAME of a repository: the first two parts of its path.
func fullName(address string) (string, error) {
	_, path, err := split(address)
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.TrimSuffix(path, ".git"), "/")
	if len(parts) > 2 {
		parts = parts[:2]
	}
	return strings.Join(parts, "/"), nil
}

// split takes an address apart: a URL, or HOST:PATH as ssh writes it.
func split(address string) (host, path string, err error) {
	if !strings.Contains(address, "://") {
		before, after, ok := strings.Cut(address, ":")
		if !ok {
			return "", "", errors.New("is no address of a repository")
		}
		if _, name, ok := strings.Cut(before, "@"); ok {
			before = name
		}
		return before, strings.Trim(after, "/"), nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", "", errors.New("is no address of a repository") // it may hold a password
	}
	host = u.Host
	if u.Scheme == "ssh" {
		host = u.Hostname()
	}
	return host, strings.Trim(u.Path, "/"), nil
}

// infoItem is the value of a named entry of the last operation's info; empty when
// there is none. The reference documents it and does not have it.
func infoItem(app map[string]any, name string) string {
	state, _ := at(app, "status", "operationState", "operation", "info").([]any)
	for _, one := range state {
		item, _ := one.(map[string]any)
		if item["name"] == name {
			text, _ := item["value"].(string)
			return text
		}
	}
	return ""
}

func at(o any, path ...string) any {
	for _, field := range path {
		fields, _ := o.(map[string]any)
		o = fields[field]
	}
	return o
}
