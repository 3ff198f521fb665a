// Package oidc lets people log in at an OpenID provider, and verifies the ID
// tokens that it gives them.
//
//	Begin ─► browser goes to the provider ─► Finish: code ─► ID token, session
//	ID token ──Verify──► principal          session ──Refresh──► next ID token
//
// Nothing is kept on the server: what belongs to a login lives in cookies that
// only the server can read, so any replica can go on after any restart.
//
//   - client.go: what the provider says of itself, and tokens
//   - login.go: the way to the provider and back, and refreshing
//   - groups.go: groups that the ID token does not hold
//   - seal.go: cookies that only the server can read
//   - transport.go: requests to the provider, bounded and seldom
package oidc
