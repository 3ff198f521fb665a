// Package jq finds the places in an object that jq expressions name. The
// expressions come from users: they know no environment, no input and no
// modules, and are bounded in length, time, output and memory.
//
//	Compiler.Compile ──► reads an expression, here
//	query.All ──Caller──► Evaluate, in a child that is killed at its limits
//
// All expressions for one object travel together, so that a rule costs one
// exchange and not one for each line. An expression that ends its child is
// found by asking for each alone, and then it is the only one without answer.
package jq
