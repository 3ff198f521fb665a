// Package syncplan decides what one sync operation does next. It is pure: it
// is given what should be, what is, and what has been done so far, and answers
// with the next acts, or with what the operation waits for, or with its end.
//
//	objects (desired, live) ──Tasks──► ordered tasks: phase, wave, kind, name
//	                                        │
//	results so far ───────────────► Next ◄──┘──► Move: acts | wait | done
//
// The executor carries out a Move, stores the results in the Application's
// status and asks again. Because tasks are recomputed from desired and live
// state and results come from status, a process that dies at any instant is
// continued by the next one without skipping a wave or running a hook twice.
//
// Rules follow spec/sync.md §4 to §6: phases PreSync, Sync, PostSync and
// SyncFail; waves ascending; inside a wave prunes first, then kinds in a fixed
// order; a wave waits for the health of the one before it.
package syncplan
