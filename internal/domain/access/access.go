// Package access holds the words in which the server asks whether somebody may
// do something: who asks, and what for. Those who decide (rbac) and those who
// ask (server, command line in core mode) meet here and know nothing of each
// other.
package access

import "time"

// Principal is who asks, after his token was verified.
type Principal struct {
	// Subject is the account name, proj:<project>:<role>, or the identity
	// that an OIDC provider gave; "" is nobody in particular (anonymous).
	Subject string
	// Groups are the values of the claims named by scopes of argocd-rbac-cm.
	Groups []string
	// Issuer is argocd for local accounts and project tokens, otherwise the
	// issuer of the ID token; "" without a token.
	Issuer string
	// Name is for people: the e-mail of an OIDC user, otherwise Subject.
	Name string
	// TokenID is the id under which the token can be revoked; "" without one.
	TokenID string
	// IssuedAt and ExpiresAt are those of the token; zero when it has none.
	IssuedAt, ExpiresAt time.Time
	// Unrestricted marks --disable-auth: every question is answered with yes.
	Unrestricted bool
}

// LoggedIn says whether the principal has shown a valid token.
func (p Principal) LoggedIn() bool { return p.Unrestricted || p.Issuer != "" }

// Request is what somebody wants to do, in the terms of policies
// (spec/rbac.md §3).
type Request struct {
	// Resource is applications, applicationsets, projects, clusters,
	// repositories, write-repositories, certificates, accounts, gpgkeys,
	// logs, exec or extensions.
	Resource string
	// Action is get, create, update, delete, sync, override, invoke,
	// action/<group>/<kind>/<name>, update/... or delete/....
	Action string
	// Object is <project>/<name> or <project>/<namespace>/<name> for
	// Applications, ApplicationSets, logs and exec; see the table of the page.
	Object string
}

// Sifter is a Decider that answers the same question for many objects faster
// than one by one; the answers are those of the moment at which it is asked, for
// one goroutine.
type Sifter interface {
	Sift(who Principal, resource, action string) (allowed func(object string) bool)
}

// Decider answers questions; it is quick enough to be asked for each object of
// a list, and safe for concurrent use.
type Decider interface {
	Allowed(who Principal, what Request) bool
}
