// Package scm asks hosts of source code which repositories, branches and pull
// requests they have.
//
//	generator ──► host (one file each) ──► list ──► filter ──► branches ──► filter
//	                   │
//	                   └── guard: one transport for all: bounds, refusals, throttling, no secret in words
//
// An answer is complete or an error. A page that is missing, cut off, HTML, an
// error or too large makes the whole answer an error, because what is missing in
// an answer is deleted. Only a repository without the branch it names as its
// default is left out.
//
//   - client.go: what is asked on whose behalf, TLS, proxies
//   - guard.go: what a request may bring and what its failures mean
//   - collect.go: listing and filtering, the same for all hosts
//   - json.go: the small client for hosts that have no light library
//   - github.go, gitlab.go, gitea.go, bitbucket.go, bitbucketserver.go,
//     azure.go, codecommit.go: the hosts
//   - githubapp.go, aws.go: how to become somebody there
package scm
