// Package steer is how people look at rollouts and steer them, whatever they
// come by: it knows no transport. A server puts routes in front of it, after
// asking whether the user may do what the verb needs (rollout.Verb.Permission,
// rollout.PermissionRead, on resource applicationsets).
//
//	View    what is stored of the rollout, for people        rollout.Explain
//	Plan    what a rollout would do now, saved or not        advance.Facts.Plan
//	Ask     a verb ─► rollout.Request ─► annotations, written in the user's name
//
// Nothing here decides about a rollout: what is written is what kubectl
// annotate could write, and the loop that advances rollouts takes it in.
package steer
