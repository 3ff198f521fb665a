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
package gitrepo
