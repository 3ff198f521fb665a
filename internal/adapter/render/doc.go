// Package render turns one source of an Application into Kubernetes objects,
// reading from the tree of a commit only.
//
//	Request{source, tree} ──detect──► directory | kustomize | helm ──► objects
//	                                        │
//	                                        └─ reads go through a Recorder
//
// The Recorder notes every path read, listed or found missing with the id of
// its content, so that a result stays valid for every later commit in which
// those ids are the same. A panic in a rendering library becomes an error of
// that one render.
package render
