// Package server is the one HTTP API of Sluice: the table of everything that it
// can do, and what it is served with.
//
//	store ──► application, applicationset, project, ... ──► route.Table ──► rest ──► clients
//	engine, renderer ─┘                                        │
//	identity, policies ────────────────────────────────────────┘
//
// A server keeps nothing of its own: objects, settings and secrets live on the
// hub and are watched, so a change there takes effect at once and any number of
// servers may run.
package server
