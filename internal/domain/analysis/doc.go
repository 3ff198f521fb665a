// Package analysis judges a step of a rollout by metrics. It is pure: it reads
// the settings of a metric, fills its query, judges what was measured, and
// keeps count; asking a server is an adapter's.
//
//	settings ─► Metric ─► Fill(arguments) ─► query ─► (server) ─► Sample
//	                                                                │
//	            Tally ◄── Count ◄── Measurement ◄────── Judge ◄─────┘
//	              └─► Due: measure again when?   └─► Phase: passed, failed, running
//
// A tally is all that must survive a restart; counting goes on from it.
//
// Conditions are expressions over "result" with the meaning that Argo
// Rollouts gives them. Rules: spec/progressive-sync.md L16.
package analysis
