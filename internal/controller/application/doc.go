// Package application keeps Applications in step with Git.
//
// Each cluster has a lane: a queue and its own workers, so that a cluster that
// hangs delays nobody else. One worker at a time handles an Application and is
// the only writer of its status:
//
//	load ─► destination, project ─► operation: one step of a sync, resumable
//	                             ─► compare: render × live ─► sync, health
//	                             ─► automated sync? ─► operation
//	                             ─► one write of status (and operation)
//
// Nothing is polled: watches of the hub, of the clusters and the poller of
// each repository enqueue what they concern. What a restart must not forget is
// written before the act that it permits: to the Application, or, of syncs that
// only apply objects, to a journal that takes many of them at once. What can be
// found out again and nobody waits for is written with what follows.
package application
