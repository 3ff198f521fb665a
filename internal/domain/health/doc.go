// Package health judges live objects.
//
//	object ─► being deleted? ─► user's script ─► shipped script ─► rule in Go ─► conventions ─► nothing
//	          Progressing       exact, then      exact, then       by kind       (can be
//	                            wildcard         wildcard                        turned off)
//
// The first that knows the kind answers (spec/diff-health.md §9.3); the
// Assessor holds that order, Rules finds scripts, BuiltIn is the table of
// rules in Go. Rules are pure functions of one object and the records of its
// pods; they follow §9.4 with the additions marked there as ours. Conventions
// (observedGeneration, Ready, Stalled, Reconciling) serve kinds that nobody
// wrote a rule for.
package health
