// Package rollout decides how a change reaches a fleet: step by step, each
// step gated on health. It is pure; the record of what has been decided lives
// in the ApplicationSet's status and is the only memory there is.
//
//	Input{set with its record, members, targets, now} ──Next──► Decision
//	    members: what is rendered and what is live, with class and step
//	    targets: spec and resolved revisions, the same for all who share a source
//	Decision: the next record, and the acts that the *given* record permits
//
//	Next is a table of contents:
//	    remember   record.go    what the record says, fitted to the steps of today
//	    identify   identify.go  targets, and whether a new rollout begins
//	    requests   requests.go  what people ask for by annotation
//	    member     member.go    the state machine of one Application, on evidence (observe.go)
//	    gates      gates.go     which step is the current one; bake, analysis.go
//	    failures   failure.go   what halts, times out or turns back
//	    revert     rollback.go  the way back
//	    permit     admit.go     operations that the stored record has admitted
//	    admit      admit.go     who may change next, once that is stored
//	    finish     status.go    the public status, conditions.go, events
//
// Acts follow the record that was handed in, never the one that is handed
// out: the caller stores first and acts when it is called again (write ahead).
// Operations carry ids made from the record, so doing them twice is harmless.
// Evidence of health counts only when it was computed against the target and
// after the last operation; order is told by ids, never by clocks.
//
// Beside it: Explain (view.go) is what people are shown, Preview (preview.go)
// what a rollout would do, Fit (fit.go) what a status may weigh.
//
// Rules: spec/progressive-sync.md §6 to §8.
package rollout
