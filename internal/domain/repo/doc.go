// Package repo holds the words that name a source of manifests and the means
// to reach it. It knows no transport.
//
//   - repo.go, secret.go: a Repository, and credentials that print masked
//   - url.go: which URLs git may be given, and when two of them are one
//   - push.go: which repository and which revision a webhook speaks of
//   - reach.go: whom to trust on the way, and by which proxy
//   - commit.go: what a commit object says
package repo
