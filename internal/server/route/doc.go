// Package route holds what the server can do as a table: each line has a path,
// a typed request, a typed answer and the rule that says who may ask.
//
//	Spec (method, path, RPC, Rule) + handler ─► Route ─► Table ─► transports
//	                                                          └─► OpenAPI, client types, permission tests
//
//	principal ─► Call ─► handler asks Must / Can ─► answer, only if every check
//	                     (declared checks only)     of the rule was granted
//
// A handler knows no transport: it is a function from a request to an answer,
// or to a stream of messages. REST is one layer over it; gRPC can be another.
//
//   - route.go: Spec, Route, Table
//   - rule.go: rules as data
//   - call.go: one request: who asks, what was granted, what was done
package route
