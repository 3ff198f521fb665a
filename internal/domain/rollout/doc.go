// Package rollout decides how a change reaches a fleet: step by step, each
// step gated on health. It is pure; the record of what has been decided lives
// in the ApplicationSet's status and is the only memory there is.
//
//	Input{set with its record, members, targets, now} ──Next──► Decision
//	    members: what is rendered and what is live, with class and step
//	    targets: spec and resolved revisions, the same for all who share a source
//	Decision: the next record, and the acts that the *given* record permits
//
// Acts follow the record that was handed in, never the one that is handed
// out: the caller stores first and acts when it is called again (write ahead).
// Operations carry ids made from the record, so doing them twice is harmless.
// Evidence of health counts only when it was computed against the target and
// after the last operation; order is told by ids, never by clocks.
//
// Rules: spec/progressive-sync.md §6.
package rollout
