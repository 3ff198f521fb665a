// Package generate keeps the Applications of an ApplicationSet in step with
// its generators: it evaluates them, writes the Applications that differ,
// deletes those that are gone, and hands the outcome to the loop that advances
// the set. It never writes the status of anything.
//
// An error never deletes: when a generator fails, or any parameter set cannot
// be rendered, surplus Applications stay. A drop that is larger than the
// deletion guard allows waits for a person's word.
package generate
