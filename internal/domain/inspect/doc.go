// Package inspect says what can be seen of an Application: what it manages,
// what came of it on the cluster, and how that differs from Git. It is pure,
// and knows no transport.
//
//	live object ──Describe──► Node     what is shown of one object
//	Nodes ──Grow──► Tree               who belongs to whom
//	desired, live, diff.Result ──► Resource
//
// Reader is what a controller that owns a cluster answers for its
// Applications; everything in an answer is a value that holds no secret and
// may be kept.
package inspect
