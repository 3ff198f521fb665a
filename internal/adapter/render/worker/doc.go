// Package worker renders in child processes, so that a render that hangs,
// panics or eats memory fails alone.
//
//	parent                                   child (the same binary, hidden command)
//	Pool.Render ──request──────────────────► render.Render
//	  Recorder ◄──what is at base/web.yaml?──   tree over the pipe
//	           ──entry, place, content──────►
//	           ◄──manifests or message───────
//
// A child closes itself off before it reads the first request: it has no
// environment, opens no file, makes no socket, starts no program, and its
// data segment is limited. It sees nothing but what the parent answers, and
// the parent answers from the trees of that one request only. It is killed at
// the deadline of a render and never asked to end by itself.
//
// How many work at once follows from a budget of memory: each child may use
// its limit, and the limits together stay below the budget.
package worker
