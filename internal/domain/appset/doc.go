// Package appset turns an ApplicationSet into Applications. It is pure: what
// generators need from outside (clusters, trees of commits, a template
// engine) is handed in as values and functions.
//
//	generators ──► parameter sets (with labels) ──► template ──► Applications
//
// Rules follow spec/applicationset.md §3 to §5; labels of generators reach
// Applications as in spec/progressive-sync.md §6.1.
package appset
