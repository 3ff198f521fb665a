// Package plugin speaks with config-management plugins: programs in sidecars
// that render what Sluice does not know (spec/wire.md §4, protocol v2).
//
//	Client                                  Server (in the sidecar)
//	  Match    ──archive of the tree──►       discover: fileName, glob, command
//	  Generate ──archive, environment──►      init, generate ──► manifests
//
// Both sides are here: the client for the renderer, and the server that an
// image of a plugin starts. The transport is gRPC over a unix socket, one
// socket a plugin, named after it; whoever may open the socket may use it.
//
// A plugin gets no credential and sees one tree. What it prints counts as
// depending on all of that tree.
package plugin
