// Package autosync decides what an Application does by itself. It is pure.
//
//   - autosync.go: whether a comparison starts a sync or a self-heal, by the
//     rules of spec/application.md §10, in order
//   - hold.go: when an Application holds what a person deployed against its
//     target, until when, and how it heals meanwhile (§11)
//   - rollback.go: when a target is given up for the deployment before it
//     (§17, onFailure)
package autosync
