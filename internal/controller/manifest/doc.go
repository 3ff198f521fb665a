// Package manifest answers what an Application should consist of: it finds
// the repository of each source, resolves its revision, reads the tree of the
// commit and renders it.
//
//	sources ──Resolve──► revisions ──Generate──► objects + digest
//	                                   │
//	                       cache: valid while the recorded reads are the same
//
// No Application asks Git for itself: revisions come from the one poller per
// repository, and a result is reused for every later commit in which nothing
// changed that the render had read.
package manifest
