// Package rbac decides who may do what.
//
//	built-in + argocd-rbac-cm ──Compile──► Policy ─┐
//	AppProject ──CompileProject──► Layer ──────────┼──► Rules ──Allowed, Explain──► yes, no, why
//	policy.default, who asks ──────────────────────┘
//
// A Policy is an index: lines by subject, then by resource and action, then by
// the beginning of the object, so that a check looks at the few lines that can
// match and not at all of them. What casbin computes with the same text is the
// same answer; a test compares the two.
//
//   - syntax.go: the text of policies, line by line
//   - token.go: globs and regular expressions
//   - index.go: the compiled policy and how one subject is judged
//   - project.go: roles of a project as a Layer on top
//   - rules.go, live.go: the order of questions for one request, and the newest
//     state of both sources
//   - sieve.go: one question for many objects
//   - validate.go, words.go: what operators ask (can, validate), names and
//     aliases of resources and actions
//
// Rules come from spec/rbac.md of the format's description. A Policy never
// changes; all functions are safe for concurrent use.
package rbac
