// Package scenario is the test language of rollouts: scripts that an operator
// can read, run against the planner and a simulated fleet in memory.
//
//	fleet   c:wave=canary e:wave=primary w:wave=primary
//	step    wave=canary max 1
//	step    wave=primary max 2
//	start   R1                    everything Synced and Healthy at R1
//	push    R2                    a commit; Applications notice it
//	expect  syncing c
//	finish  c Healthy             its sync ends; this is its health
//	health  c Degraded            its health changes later
//	expect  waiting e w           in the record
//	expect  step 2 | complete | halted | paused | operations 3
//	pause, resume, restart        restart forgets all memory but the record
//	sync    e                     a person syncs it
//	add, remove, label            change the fleet
//
// After every line the planner runs until nothing changes, and the safety
// invariants are checked: limits, order, one operation per attempt, pinned
// revisions, nothing while paused, foreign operations untouched.
package scenario
