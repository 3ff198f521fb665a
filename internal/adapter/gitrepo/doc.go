// Package gitrepo reads Git repositories without ever checking one out.
//
// One bare mirror per repository is fetched with the system git and read
// through a long-lived "git cat-file --batch" process:
//
//	remote ──ls-remote, fetch──► mirror (bare) ──cat-file──► Tree of a commit
//	   ▲
//	   └── one poller per repository, shared by all its subscribers
//
// Any number of revisions can be read at the same time; there is no lock, no
// work tree and nothing outside the tree that a path could reach. Credentials
// travel in the environment of git, never in arguments, URLs or errors.
//
//   - endpoint.go and git.go: how git is told where and as whom to go, and run
//   - resolve.go: what a remote offers, and which commit a revision means
//   - ask.go, poll.go: one question to a remote for everybody who waits
//   - mirror.go, repair.go: the local copy, and making a broken one anew
//   - objects.go, commit.go, cache.go: from objects to a tree
package gitrepo
