// Package sso holds the rules of logins by an OpenID provider: what oidc.config
// and dex.config mean, what Dex is to be told, where a login may return to, and
// who somebody is by his claims.
//
//	argocd-cm, referenced Secrets ──Parse──► Config ─► adapter/oidc
//	dex.config ──RenderDex──► configuration of a Dex beside the server
//	claims of a verified ID token ──Identify──► access.Principal
//
// Rules come from spec/api.md §2 and §4 and spec/config.md §2.2 of the format's
// description. All functions are pure.
package sso
