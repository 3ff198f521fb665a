// Package advance carries rollouts forward. It alone writes the status of
// ApplicationSets; on Applications it writes only the operation and the
// refresh annotation.
//
//	outcome of generate ─┐
//	live Applications ───┼─► rollout.Next ─► store the record ─► act on it
//	resolved revisions ──┘        ▲                                 │
//	                              └──────────── again ──────────────┘
//
// The record is stored under the version it was computed from; when somebody
// else wrote in between, the decision is thrown away and made anew.
package advance
