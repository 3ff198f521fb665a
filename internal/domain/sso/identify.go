package sso

import (
	"errors"
	"slices"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

// Token is an ID token whose signature, issuer and end were verified.
type Token struct {
	Issuer, Subject     string
	Audience            []string
	IssuedAt, ExpiresAt time.Time
	Claims              map[string]any
}

// Identify says who shows an ID token (spec/api.md §2). scopes name the claims
// that hold groups. The error says what the token lacks.
func (c *Config) Identify(t Token, scopes []string) (access.Principal, error) {
	if !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(c.Audiences, a) }) && (len(t.Audience) > 0 || !c.WithoutAudience) {
		return access.Principal{}, errors.New("token is for another audience")
	}
	subject := t.Subject
	if federated, ok := t.Claims["federated_claims"].(map[string]any); ok {
		if id, ok := federated["user_id"].(string); ok && id != "" {
			subject = id
		}
	}
	switch {
	case subject == "":
		return access.Principal{}, errors.New("token has no subject")
	case reserved(subject):
		return access.Principal{}, errors.New("token has a subject that only project roles have")
	}
	who := access.Principal{Subject: subject, Name: subject, Issuer: t.Issuer, Groups: rbac.Groups(t.Claims, scopes), IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt}
	if email, ok := t.Claims["email"].(string); ok && email != "" {
		who.Name = email
	}
	for _, claim := range []string{"jti", "uti", "at_hash"} {
		if id, ok := t.Claims[claim].(string); ok && id != "" {
			who.TokenID = id
			break
		}
	}
	return who, nil
}

// reserved are subjects that must never come from outside.
func reserved(subject string) bool {
	_, _, ok := rbac.SplitRoleSubject(subject)
	return ok
}
