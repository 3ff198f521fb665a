// Package rest is the HTTP transport of the table of routes: JSON as clients of
// Argo CD know it (spec/api.md §1), streams as lines of JSON or as server-sent
// events, on one port with and without TLS.
//
//	listener ─► TLS? ─► headers, root path ─► content type, origin ─► ServeMux
//	   └─ plain HTTP on a TLS port: 307       └─► authenticate ─► decode ─► route.Runner ─► encode
//
// Every answer is bounded in size and time, a client that reads slowly keeps
// nothing but its own connection, and an error says its code, a message and
// what to do, never what the caller may not see.
//
//   - handler.go: the way of a request; decode.go, project.go: in and out
//   - respond.go: answers, errors, compression, ETag; stream.go: many messages
//   - server.go: listeners, certificates, shutdown; metrics.go
package rest
