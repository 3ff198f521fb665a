package account

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Names of the objects that are read.
const (
	ConfigMapName = "argocd-cm"
	SecretName    = "argocd-secret"
)

// Admin is the account that is always there.
const Admin = "admin"

// MaxName is the longest name of an account in bytes.
const MaxName = 32

// Capability is what an account is for.
type Capability string

// The capabilities.
const (
	Login  Capability = "login"
	APIKey Capability = "apiKey"
)

// Account is a local account.
type Account struct {
	Name         string
	Enabled      bool
	Capabilities []Capability
	// Hash is the bcrypt hash of the password; empty is no password.
	Hash repo.Secret
	// Changed is when the password was set: older tokens are dead.
	Changed time.Time
	// Tokens are the API tokens that are valid, oldest first.
	Tokens []Token
}

// Can says whether the account has a capability.
func (a Account) Can(c Capability) bool { return slices.Contains(a.Capabilities, c) }

// Token is the record of an API token; the token itself is stored nowhere.
type Token struct {
	ID string `json:"id"`
	// IssuedAt and ExpiresAt are Unix seconds; 0 never expires.
	IssuedAt  int64 `json:"iat"`
	ExpiresAt int64 `json:"exp,omitempty"`
}

// Book is what the settings say about accounts.
type Book struct {
	Accounts map[string]Account
	// Anonymous lets requests without a token through as nobody.
	Anonymous bool
	// Session is how long a login lasts.
	Session time.Duration
	// Pattern is what a new password must match.
	Pattern *regexp.Regexp
	// Key signs tokens; empty before the server has made one.
	Key repo.Secret
}

const (
	defaultSession = 24 * time.Hour
	defaultPattern = `^.{8,32}$`
)

// Parse reads argocd-cm and the data of argocd-secret. The problems name keys
// and remedies and hold no value of the Secret; what has a problem is left out
// or has its default, and hides nothing else. An account whose enabled cannot
// be read is disabled.
func Parse(config map[string]string, secret map[string][]byte) (Book, []error) {
	p := &parser{config: config, secret: secret, book: Book{Accounts: map[string]Account{}, Key: repo.Secret(secret["server.secretkey"])}}
	p.book.Anonymous = p.boolean("users.anonymous.enabled", false, false)
	p.book.Session = p.duration("users.session.duration", defaultSession)
	p.book.Pattern = regexp.MustCompile(defaultPattern)
	if raw := config["passwordPattern"]; raw != "" {
		if r, err := regexp.Compile(raw); err != nil {
			p.problem("passwordPattern", "is no regular expression: "+defaultPattern+" counts")
		} else {
			p.book.Pattern = r
		}
	}
	admin := Account{Name: Admin, Enabled: p.boolean("admin.enabled", true, false), Capabilities: []Capability{Login}}
	p.book.Accounts[Admin] = p.credentials(admin, Admin)
	for _, key := range slices.Sorted(maps.Keys(config)) {
		p.account(key)
	}
	return p.book, p.problems
}

type parser struct {
	config   map[string]string
	secret   map[string][]byte
	book     Book
	problems []error
}

func (p *parser) problem(key, text string) {
	p.problems = append(p.problems, fmt.Errorf("ConfigMap/%s: key %s %s", ConfigMapName, key, text))
}

// boolean reads a key; broken is what counts when it cannot be read.
func (p *parser) boolean(key string, absent, broken bool) bool {
	raw := strings.TrimSpace(p.config[key])
	if raw == "" {
		return absent
	}
	v, err := strconv.ParseBool(raw)
	if err != nil {
		p.problem(key, fmt.Sprintf("is neither \"true\" nor \"false\": it counts as %v", broken))
		return broken
	}
	return v
}

// duration reads one number and one of s, m, h, d.
func (p *parser) duration(key string, absent time.Duration) time.Duration {
	raw := strings.TrimSpace(p.config[key])
	if raw == "" {
		return absent
	}
	d, ok := Duration(raw)
	if !ok || d == 0 {
		p.problem(key, fmt.Sprintf("is not a number with one of s, m, h, d, like \"24h\": %s counts", absent))
		return absent
	}
	return d
}

// Duration reads a duration of one number and one unit: s, m, h or d
// (spec/config.md, head: dur-simple).
func Duration(raw string) (time.Duration, bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	if raw == "" {
		return 0, false
	}
	unit, ok := units[raw[len(raw)-1]]
	n, err := strconv.ParseUint(raw[:len(raw)-1], 10, 31)
	if !ok || err != nil || n > uint64((1<<63-1)/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// account reads accounts.<name>; accounts.<name>.enabled is read with it.
func (p *parser) account(key string) {
	rest, ok := strings.CutPrefix(key, "accounts.")
	if !ok {
		return
	}
	name, more, dotted := strings.Cut(rest, ".")
	switch {
	case dotted && more == "enabled" && name != "":
		p.enabled(name, key) // comes after accounts.<name>, by name
		return
	case dotted || name == "":
		p.problem(key, "is neither accounts.<name> nor accounts.<name>.enabled; names hold no dot")
		return
	case len(name) > MaxName:
		p.problem(key, fmt.Sprintf("has a name of more than %d characters", MaxName))
		return
	}
	a := p.book.Accounts[name]
	if name != Admin {
		a = p.credentials(Account{Name: name, Enabled: true}, "accounts."+name)
	}
	for _, raw := range strings.Split(p.config[key], ",") {
		switch c := Capability(strings.TrimSpace(raw)); c {
		case Login, APIKey:
			if !a.Can(c) {
				a.Capabilities = append(a.Capabilities, c)
			}
		case "":
		default:
			p.problem(key, fmt.Sprintf("has the capability %q, which is neither login nor apiKey: it is ignored", c))
		}
	}
	p.book.Accounts[name] = a
}

func (p *parser) enabled(name, key string) {
	a, ok := p.book.Accounts[name]
	if !ok {
		p.problem(key, "belongs to no account: add key accounts."+name+" with its capabilities, for example \"login\"")
		return
	}
	a.Enabled = p.boolean(key, true, false) && a.Enabled
	p.book.Accounts[name] = a
}

// credentials reads what argocd-secret holds below a prefix.
func (p *parser) credentials(a Account, prefix string) Account {
	a.Hash = repo.Secret(strings.TrimSpace(string(p.secret[prefix+".password"])))
	if raw := strings.TrimSpace(string(p.secret[prefix+".passwordMtime"])); raw != "" {
		at, err := time.Parse(time.RFC3339, raw)
		if err != nil {
			// Unknown age: no token may pass for younger than the password.
			a.Hash, a.Tokens, a.Enabled = "", nil, false
			p.problems = append(p.problems, fmt.Errorf("Secret/%s: key %s.passwordMtime is no time like 2026-01-02T15:04:05Z: account %s is disabled until it is corrected", SecretName, prefix, a.Name))
			return a
		}
		a.Changed = at
	}
	tokens, err := decodeTokens(p.secret[prefix+".tokens"])
	if err != nil {
		p.problems = append(p.problems, fmt.Errorf("Secret/%s: key %s.tokens is no list of {id, iat, exp}: account %s has no API tokens", SecretName, prefix, a.Name))
	}
	a.Tokens = tokens
	return a
}

func decodeTokens(raw []byte) ([]Token, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var out []Token
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	return out, nil
}

// Prefix begins the keys of an account in argocd-secret.
func Prefix(name string) string {
	if name == Admin {
		return Admin
	}
	return "accounts." + name
}
