// Package advance carries rollouts forward. It alone writes the status of
// ApplicationSets, and takes away the annotations by which people steer once
// the record has taken them in; on Applications it writes only the operation,
// its end when it takes too long, and the refresh annotation.
//
//	outcome of generate ─┐
//	live Applications ───┼─► rollout.Next ─► store the record ─► act on it
//	resolved revisions ──┘        ▲                                 │
//	                              └──────────── again ──────────────┘
//
// What it does not know itself comes in as functions: Windows and SyncWindow
// say what is closed, Measure measures, Allowed refuses. A strategy that needs
// one that is missing is refused, never carried out without it.
//
// The record is stored under the version it was computed from; when somebody
// else wrote in between, the decision is thrown away and made anew.
package advance
