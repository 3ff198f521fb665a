// Package manifest answers what an Application should consist of: it finds
// the repository of each source, resolves its revision, reads the tree of the
// commit, chart or artifact and renders it.
//
//	sources ──Resolve──► revisions ──Generate──► objects + digest
//	                                   │
//	          memory ─► disk ─► Redis ─┴─► plain YAML here, tools in workers, plugins in sidecars
//
// No Application asks Git for itself: revisions come from the one poller per
// repository, and a result is reused for every later commit in which nothing
// changed that the render had read. Which paths changed between two commits is
// worked out once, by walking both trees side by side (differences.go), so
// deciding for a thousand Applications costs a thousand lookups.
//
//	service.go      what callers ask: Resolve, Subscribe, Tree, Generate, Decide
//	source.go       one source: key, lookup, render, failure
//	record.go       a result with what it depends on; results.go keeps them
//	stored.go       the same on disk and in Redis
//	keep.go         what was deployed, kept for a rollback
//	outside.go      what a source names outside its tree, and whether it may
//	plugin.go       config-management plugins
//	settings.go     argocd-cm and argocd-cmd-params-cm
//	watch.go        polling of what is not Git
package manifest
