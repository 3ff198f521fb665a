// Package session says who sends a request, and lets people log in, log out and
// look after accounts (spec/api.md §2).
//
//		Authorization, cookies ──token──► ours? identity.Verify : SSO.Verify ──► access.Principal
//		name, password ──► identity.Login ──► token, cookie
//
//	  - cookie.go: tokens in cookies, whole and in pieces
//	  - authenticate.go: from a request to a principal, and fresh cookies
//	  - session.go: login, logout, who am I
//	  - account.go, question.go: accounts, passwords, API tokens, "can I"
//	  - project.go: tokens of project roles
package session
