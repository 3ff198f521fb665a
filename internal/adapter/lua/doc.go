// Package lua runs health and action scripts (spec/diff-health.md §10, §11).
//
//	shipped script ──► VM in this process: instruction, time, depth limits
//	user's script ───► Pool ──pipe──► child "sluice lua-worker": the same VM
//	                                  + memory limit, killed at the deadline,
//	                                  no credentials in its environment
//
// Other adapters whose work must be bounded, such as jq, have it done in the
// same children through Pool.Call and a Handler.
//
// Every run gets a fresh state. A script sees obj and actionParams, and of the
// libraries base, package, table and an os with time and date; string and math
// when open libraries are on. Nothing reaches files, programs or the network.
//
// Rules finds the health script of a kind, Actions the actions of an object.
// Scripts of the settings may be hostile: they never run in this process, and
// one that keeps exceeding its limits is left out for a while, so that it
// fails alone (docs/adr/0006-lua-in-children.md).
package lua
