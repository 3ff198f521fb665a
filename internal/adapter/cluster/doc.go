// Package cluster talks to target clusters. A cluster is a failure domain:
// each has its own connection, watches and state, and one that is dead, slow
// or frozen delays nothing elsewhere.
//
//	Fleet ── Connection ── discovery     which kinds there are; that they changed is noticed in seconds
//	                    ├─ watches       one per kind in use ──► store of live objects
//	                    ├─ scans         metadata of all other kinds, now and then: what
//	                    │                belongs to an Application gets a watch, too
//	                    ├─ writes        apply (server-side, client-side, replace), create,
//	                    │                delete: at most 5 s each
//	                    ├─ predictions   what an apply would do: dry run, or the schema
//	                    └─ heartbeat     a frozen API server is noticed in seconds
//
// The store keeps managed objects in full, pods as small records and of
// everything else nothing but the name and the owner.
package cluster
