// Package core answers for target clusters in a process that runs no
// controllers: core mode of the command line and the local dashboard, which have
// Kubernetes alone.
//
//	question about an Application ─► Engine ─► own connection ─► answers of the controller's code
//	question about a cluster      ─► Clusters ─► one connection per cluster that is asked about
//	rehearsal of many             ─► Reconcile ─► one cluster after the other, as a whole
//
// Nothing is connected to before somebody asks. The connection for an
// Application sees only the namespaces that it has objects in, so that a look at
// one Application of a large cluster does not list the cluster. What is answered
// is worked out by the same code as in the controller; nothing is reconciled,
// and operations are left to whoever runs the controller.
package core
