// Package audit says who did what to which object, from where, and what became
// different (spec/observability.md §3).
//
//	route.Record ──Entries (pure)──► Entry ─┬─► structured log, each line sealed to the one before
//	                                        └─► queue ─► Kubernetes event on the object
//
// Refused calls are in the log too. A difference names fields and values, except
// values that may be secrets, which are only said to differ. Recording never
// blocks a call: when events cannot be written as fast as they come, they are
// dropped and counted; the log has them all.
//
//   - entry.go: entries; difference.go: what became different
//   - auditor.go: log and events
package audit
