// Package client speaks the REST API of any Sluice or Argo CD server, old ones
// too, as a command line needs it
// (spec/api.md): one method for each operation, typed requests and answers.
//
//	Options ─► New ─► Client ─┬─ Apps, Sets, Projects ...  one request, one answer
//	                          └─ Watch..., Logs            a stream: lines of JSON or server-sent events
//
// Errors of the server are *Error and keep the code that gRPC would have. A
// watch that breaks is opened again until the caller ends it; everything else
// is tried again only as often as Options.Retries says, and only when that is
// harmless. A token leaves for no other host than the one that was asked for.
//
//   - client.go: connection, one request; failure.go: errors; stream.go
//   - application.go, applicationset.go, project.go, cluster.go, repository.go, account.go: operations
//   - wire.go: shapes that are no custom resources
package client
