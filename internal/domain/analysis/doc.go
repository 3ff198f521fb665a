// Package analysis judges a step of a rollout by metrics. It is pure: it reads
// the settings of a metric, fills its query and judges what was measured.
// Asking a server is an adapter's, counting the rollout's.
//
//	settings ─► Metric ─► Fill(arguments) ─► query ─► (server) ─► Sample
//	                                                                │
//	            Measurement ◄────── Judge ◄─────────────────────────┘
//
// Conditions are expressions over "result" with the meaning that Argo
// Rollouts gives them. Rules: spec/progressive-sync.md L16.
package analysis
