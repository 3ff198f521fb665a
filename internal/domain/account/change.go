package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Errors of changes. Whoever answers a request gives them their codes.
var (
	// ErrPattern is a new password that the pattern refuses.
	ErrPattern = errors.New("password does not match the pattern")
	// ErrTaken is an id of a token that exists.
	ErrTaken = errors.New("id is taken")
	// ErrUnknown is an account, token or role that does not exist.
	ErrUnknown = errors.New("unknown")
)

// SetPassword changes the data of argocd-secret: hash is the bcrypt hash of the
// new password. Tokens issued before now are dead from then on.
func SetPassword(data map[string][]byte, name string, hash []byte, now time.Time) {
	data[Prefix(name)+".password"] = hash
	data[Prefix(name)+".passwordMtime"] = []byte(now.UTC().Format(time.RFC3339))
}

// AddToken records an API token in the data of argocd-secret; expired ones are
// dropped. The error is ErrTaken when the id exists.
func AddToken(data map[string][]byte, name string, t Token, now time.Time) error {
	key := Prefix(name) + ".tokens"
	all, err := decodeTokens(data[key])
	if err != nil {
		return fmt.Errorf("Secret/%s: key %s is no list of {id, iat, exp}: correct or remove it", SecretName, key)
	}
	all = slices.DeleteFunc(all, func(o Token) bool { return o.ExpiresAt != 0 && o.ExpiresAt <= now.Unix() })
	if slices.ContainsFunc(all, func(o Token) bool { return o.ID == t.ID }) {
		return fmt.Errorf("account %s has a token with id %q already: %w", name, t.ID, ErrTaken)
	}
	return storeTokens(data, key, append(all, t))
}

// RemoveToken takes the record of an API token away, which ends the token. The
// error is ErrUnknown when there is none.
func RemoveToken(data map[string][]byte, name, id string) error {
	key := Prefix(name) + ".tokens"
	all, err := decodeTokens(data[key])
	if err != nil {
		return fmt.Errorf("Secret/%s: key %s is no list of {id, iat, exp}: correct or remove it", SecretName, key)
	}
	left := slices.DeleteFunc(slices.Clone(all), func(o Token) bool { return o.ID == id })
	if len(left) == len(all) {
		return fmt.Errorf("account %s has no token with id %q: %w", name, id, ErrUnknown)
	}
	return storeTokens(data, key, left)
}

func storeTokens(data map[string][]byte, key string, all []Token) error {
	raw, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encode tokens: %w", err)
	}
	data[key] = raw
	return nil
}

// ProjectTokens are the records of a role's tokens, from both places where they
// live, newest first (spec/application.md §13.4); false when the project has no
// such role.
func ProjectTokens(p *v1alpha1.AppProject, role string) ([]v1alpha1.JWTToken, bool) {
	i := slices.IndexFunc(p.Spec.Roles, func(r v1alpha1.ProjectRole) bool { return r.Name == role })
	if i < 0 {
		return nil, false
	}
	out := slices.Clone(p.Status.JWTTokensByRole[role].Items)
	for _, t := range p.Spec.Roles[i].JWTTokens {
		if !slices.ContainsFunc(out, func(o v1alpha1.JWTToken) bool { return same(o, t) }) {
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b v1alpha1.JWTToken) int { return int(b.IssuedAt - a.IssuedAt) })
	return out, true
}

// same says whether two records are of one token: by id, else by time.
func same(a, b v1alpha1.JWTToken) bool {
	if a.ID != "" && b.ID != "" {
		return a.ID == b.ID
	}
	return a.IssuedAt == b.IssuedAt
}

// AddProjectToken records a token of a role in both places; records that have
// expired are dropped. ErrUnknown is a role that does not exist, ErrTaken an id
// that does.
func AddProjectToken(p *v1alpha1.AppProject, role string, t v1alpha1.JWTToken, now time.Time) error {
	all, ok := ProjectTokens(p, role)
	if !ok {
		return fmt.Errorf("project %s has no role %q: %w", p.Name, role, ErrUnknown)
	}
	if slices.ContainsFunc(all, func(o v1alpha1.JWTToken) bool { return o.ID == t.ID }) {
		return fmt.Errorf("role %s of project %s has a token with id %q already: %w", role, p.Name, t.ID, ErrTaken)
	}
	all = slices.DeleteFunc(all, func(o v1alpha1.JWTToken) bool { return o.ExpiresAt != 0 && o.ExpiresAt <= now.Unix() })
	storeProjectTokens(p, role, append([]v1alpha1.JWTToken{t}, all...))
	return nil
}

// RemoveProjectToken takes the record with the id, or without an id the one
// issued at a second, away, and says whether there was one.
func RemoveProjectToken(p *v1alpha1.AppProject, role, id string, issuedAt int64) bool {
	all, ok := ProjectTokens(p, role)
	if !ok {
		return false
	}
	left := slices.DeleteFunc(slices.Clone(all), func(o v1alpha1.JWTToken) bool {
		return (id != "" && o.ID == id) || (id == "" && o.IssuedAt == issuedAt)
	})
	if len(left) == len(all) {
		return false
	}
	storeProjectTokens(p, role, left)
	return true
}

func storeProjectTokens(p *v1alpha1.AppProject, role string, all []v1alpha1.JWTToken) {
	for i := range p.Spec.Roles {
		if p.Spec.Roles[i].Name == role {
			p.Spec.Roles[i].JWTTokens = slices.Clone(all)
		}
	}
	if p.Status.JWTTokensByRole == nil {
		p.Status.JWTTokensByRole = map[string]v1alpha1.JWTTokens{}
	}
	p.Status.JWTTokensByRole[role] = v1alpha1.JWTTokens{Items: slices.Clone(all)}
}
