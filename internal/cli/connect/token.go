package connect

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// Claims are what a token says of itself. They are read without a check: the
// server checks, the command line only shows them.
type Claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	ID       string   `json:"jti"`
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Username string   `json:"preferred_username"`
	Groups   []string `json:"groups"`
	IssuedAt float64  `json:"iat"`
	Expires  float64  `json:"exp"`
}

// Read reads the claims of a token; nil when it is no JWT.
func Read(token string) *Claims {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	var c Claims
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	return &c
}

// LocalIssuer is that of tokens which the server itself makes.
const LocalIssuer = "argocd"

// Local says that the server itself made the token.
func (c *Claims) Local() bool { return c.Issuer == LocalIssuer }

// Expired says that the token is not good any more.
func (c *Claims) Expired(now time.Time) bool {
	return c.Expires > 0 && float64(now.Unix()) >= c.Expires
}

// Who is the best name for people: email, name, or subject.
func (c *Claims) Who() string {
	for _, s := range []string{c.Email, c.Name, strings.TrimSuffix(c.Subject, ":login")} {
		if s != "" {
			return s
		}
	}
	return ""
}
