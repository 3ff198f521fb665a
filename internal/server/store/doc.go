// Package store keeps what the server shows of the hub: Applications,
// ApplicationSets and projects, ready to be listed, filtered, sorted, paged and
// watched without a copy.
//
//	informer ─► Index ─► Snapshot (sorted, shared, immutable) ─► lists
//	  writes ───┘  └───► Queue per watcher ─► streams
//
// Objects are shared: whoever reads them does not change them. What the server
// itself has written is in the index at once, so that a client finds what it has
// just created.
//
//   - index.go: one kind of object; watch.go: its watchers
//   - query.go: selectors, search, sort, pages
//   - hub.go: the indexes of a hub, secrets and config maps
package store
