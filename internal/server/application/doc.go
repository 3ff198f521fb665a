// Package application holds the operations on Applications (spec/api.md §3):
// functions from a request to an answer, without a transport.
//
//	list, get, watch      from the store of the hub, never from the API server
//	create, update, ...   judged by project and policy, written to the hub
//	sync, rollback, ...   an operation is put on the object; the controller runs it
//	tree, resources, logs asked of the Engine that watches the target cluster
//
// Whether an Application exists is told to nobody who may not read it: what is
// absent and what is forbidden give the same answer, unless the caller names the
// project and has rights in it.
//
//   - target.go: which Application, and whether the caller may
//   - list.go, watch.go; write.go, validate.go; operation.go
//   - rendered.go: what Git says; live.go, action.go, logs.go: what the cluster says
package application
