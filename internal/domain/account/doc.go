// Package account holds the rules of identity: who may log in, which tokens are
// good, and when somebody has guessed too often.
//
//	argocd-cm, argocd-secret ──Parse──► Book (accounts, session length, pattern)
//	claims of a verified token ──Check(World)──► access.Principal
//	failed logins, revoked tokens ──► Ledger ──Encode──► one Secret
//
// Everything here is a function of its arguments: clock, randomness, Secrets and
// signatures are somebody else's. A Ledger alone changes; its owner locks it.
//
// Rules come from spec/api.md §2 and spec/config.md §2.2 and §3 of the format's
// description.
package account
