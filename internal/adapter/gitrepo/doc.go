// Package gitrepo reads Git repositories without ever checking one out.
//
// One bare mirror per repository is fetched with the system git and read
// through a long-lived "git cat-file --batch" process:
//
//	           ┌── access: who asks, what the remote offers to them, poller
//	remote ──ls-remote, fetch──► mirror (bare) ──cat-file──► Tree of a commit
//	                                                           └─► submodules, large files
//
// Any number of revisions can be read at the same time; there is no lock, no
// work tree and nothing outside the tree that a path could reach. Accesses with
// different credentials share a mirror, which opens to those that the remote
// has answered. Credentials are in private files while they are in use, never
// in arguments, environments, URLs or errors. docs/design/mirrors.md tells why.
//
//   - mirrors.go, options.go: the whole, and what it is told
//   - access.go, ask.go, poll.go, hint.go: one question to a remote for everybody
//     who waits, asked at its pace, after failures, or because of a webhook
//   - refs.go, resolve.go: what a remote offers, and which commit a target means
//   - mirror.go, partial.go, repair.go, upkeep.go: the local copy, made, kept
//     within its limits, and made anew
//   - endpoint.go, http.go, githubapp.go: where git goes and what it carries
//   - git.go, process_*.go, explain.go: running git, and what it says
//   - objects.go, commit.go, cache.go, submodule.go, lfs.go: from objects to a tree
//   - verify.go: signatures and commits for people
package gitrepo
