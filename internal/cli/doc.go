// Package cli is the command line that people and scripts know (spec/cli.md),
// under the names sluice and argocd.
//
//	arguments ─► ARGOCD_OPTS, flags ─► command ─┬─ connect ─► client ─► server
//	                │ unknown: plugin           └─ output  ─► tables, JSON, YAML
//	                └─ error ─► fail ─► one line and an exit code
//
// Every group of commands is a package below; none of them knows the process:
// what is around a command comes in as a console.Console.
package cli
