// Package diff says whether a live object is what Git asks for, and where it
// is not. It is pure; what it cannot know it is told.
//
//	desired, live ──InSync──► yes: nothing to ask
//	                    └───► not sure: the caller asks the API server for a
//	                          prediction (dry run), or Project computes one
//	prediction, live ──Compare──► Result: fields, objects, text; no secrets
//
// A difference counts when it is in a field that we own, or owned until now:
// what defaulting, other managers and mutating webhooks do elsewhere is no
// drift. Rules (spec/diff-health.md §5) take further fields out of sight; a
// rule that cannot be understood makes the objects it speaks of Unknown, for
// neither "in sync" nor "different" would be true.
package diff
