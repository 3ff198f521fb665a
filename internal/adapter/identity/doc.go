// Package identity keeps who may log in and who has: local accounts, sessions
// and tokens of our own, and what must not be forgotten about them.
//
//	argocd-cm, argocd-secret ──Reload──► Book ─┐
//	Secret sluice-sessions ──Reload──► Ledger ─┼─► Login ─► token ─► Verify ─► principal
//	AppProjects ───────────────────────────────┘
//
// Settings are read from whatever keeps the objects of the hub; Reload is called
// when one of them changed. Writes go to the hub first and count at once.
//
//   - hub.go: what is read and written
//   - keeper.go: settings, tokens and their verification
//   - login.go: passwords, limits, time that tells nothing
//   - ledger.go: revoked tokens and failed logins in their Secret
//   - change.go, bootstrap.go: passwords, tokens, first start
package identity
