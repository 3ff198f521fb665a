// Package action holds the decisions of resource actions
// (spec/diff-health.md §11): what a discovery script offers, what an action
// script wants changed, and how that is written.
//
//	discovery ─► Offered ─► Merge with the shipped ones
//	action ────► Wanted ─► Permit each object ─► Patches ─► main, status
package action
