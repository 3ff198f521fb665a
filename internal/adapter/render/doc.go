// Package render turns one source of an Application into Kubernetes objects,
// reading from the tree of a commit only.
//
//	Request{source, tree} ──.argocd-source.yaml──► detect ──► directory ─┐
//	                │                                     ├─► kustomize ─┼─► Result{objects, used}
//	                │                                     └─► helm ──────┘
//	                └─ reads go through a Recorder
//
// The Recorder notes every path read, listed or found missing with the id of
// its content, and Result.Used says which facts about the Application and its
// cluster went in. A result stays valid for every later commit, and for every
// other Application, for which all of these are the same.
//
// Nothing is read from outside the tree: kustomizations with remote bases are
// refused before kustomize sees them, and schemas of charts are checked
// without following references. A panic in a rendering library becomes an
// error of that one render.
package render
