// Package window tells when syncs may run: windows of projects, which hold
// single Applications back, and windows of rollouts, which hold steps back.
//
//	schedule + duration + zone ─► span ─► open now? until when?
//	allow and deny spans of a step    ─► Rollout.At    ─► closed, why, until
//	windows that match an Application ─► Assigned.Sync ─► may it run, why not, until
//
// Time is the caller's. A span is computed on the wall clock of its zone and
// only then turned into instants, so "Friday 17:00 for 63h" ends on Monday at
// 08:00 also when the clocks change in between; a start in the hour that a
// change skips is the instant of the change, one in the hour that is repeated
// is its first pass. A span holds its start and not its end.
//
// The search for the next boundary is bounded; "no end known" is an answer.
//
// Rules: spec/progressive-sync.md L14 for rollouts, spec/sync.md §13 for
// projects.
package window
