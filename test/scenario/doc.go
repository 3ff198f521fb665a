// Package scenario is the test language of rollouts: scripts that an operator
// can read, run against the planner and a simulated fleet in memory. ids.txt
// lists every scenario with its proof.
//
//	fleet   c:wave=canary a01..a20:wave=rest     Applications; P5 is the article's fleet
//	step    wave=canary max 1 bake 10m           selector (k=v,w  k!=v  k  !k  all), then fields
//	set     batching Sliding                     a field of the strategy; change N, insert N, analyze N for steps
//	start   R1        everything Synced and Healthy at R1; create R1: nothing deployed yet
//	push    R2        a commit [like R1] [only e w]; pushquiet: nobody notices before notice
//	finish  c e Healthy     syncs end; this is their health. finishing: compared later; fail; leaves
//	health  c Degraded      health changes
//	pause, resume, promote, retry, abort, rollback, skip, sync, dryrun, partial    people
//	add, remove, label, delete, recreate, terminating, invalid, broken, manual     the fleet
//	window  1 closed 2h     of a step; window project e closed
//	wait    10m       time passes, the planner is called when it asked to be
//	metric  rate Failed     what measuring gives from now on
//	crash   before-store|after-store|after-act|conflict    at the next admission; conflict-pause: somebody pauses meanwhile
//	stop    no controller of rollouts runs until restart
//	restart, down 3m, clock -1h, stale c, catchup, freeze, thaw, refuse, unresolved
//	gate off, type X, nosteps, policy X    what makes the strategy ignored; forbid WORDS refuses it
//	order Reverse, erase, gone ap    the set is deleted, its Applications go; expect going, stuck, erased
//	expect  syncing e w | waiting eu | reason c SyncFailed | step 2 | phase Paused |
//	        operations 3 | halted REASON | not-paused | says CONDITION WORDS | event REASON 1 | quiet | ...
//
// After every line the planner runs until nothing changes. Invariants are kept
// by a ledger that sees only what is issued: limits, order, one operation per
// attempt, pinned revisions, nothing while paused or halted, write ahead,
// foreign operations untouched, Healthy only on evidence.
package scenario
