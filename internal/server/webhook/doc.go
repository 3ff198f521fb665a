// Package webhook receives what Git hosts and registries say about pushes and
// pull requests (spec/observability.md §5), and makes those look again whom it
// concerns.
//
//	POST ─► body (bounded) ─► provider: verify, then parse ─► Event ─► queue ─► 200
//	                                                                    │
//	Applications by repository (Index) ◄──────────── Dispatcher ◄───────┘
//	     └─► poller of the mirror, or annotation refresh    ApplicationSets ─► annotation
//
// A webhook can only hint: what is true is read from the repository. So an event
// without a configured secret is accepted, with a warning, and nothing that it
// says is shown, run or used as a pattern. All bounds hold for everybody: bytes
// in memory, length of the queue, names of one event, times per object.
//
//   - receiver.go, body.go: requests; secrets.go: what they are verified with
//   - github.go, gitlab.go, bitbucket.go, bitbucketserver.go, gogs.go, azure.go,
//     ghcr.go: one provider each
//   - event.go: what they all say; paths.go: which files concern whom
//   - index.go, dispatch.go: from a repository to those who follow it
package webhook
