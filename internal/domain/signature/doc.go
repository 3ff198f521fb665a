// Package signature decides whether what Git offers was signed by whom a
// project trusts.
//
//	AppProject ──PolicyOf──► Policy ─┐
//	argocd-gpg-keys-cm ──ParseKey──► Keys ─┼──► Check(object) ──► Verdict
//	commit or tag object ──Commit, Tag──► Signed ─┘
//
// It reads no clock and no keyring of the machine: time and keys come in.
package signature
