// Package notice decides which notifications an Application gives rise to, and
// what they say (spec/observability.md §4): it reads argocd-notifications-cm,
// evaluates the conditions of triggers and renders templates. Nothing is sent
// here.
//
//	argocd-notifications-cm ─► Parse ─► Config ─► Trigger.Evaluate ─► which templates
//	                                          └─► Render ─► Message
//
// Those who may write an Application, or the config map, are not trusted with the
// machine that evaluates: conditions and templates see what they are given, read
// no environment, file, network or clock of their own, and are bounded in steps,
// time and size (guard.go). One key that cannot be used harms no other, unlike in
// the reference, where it silences all.
package notice
