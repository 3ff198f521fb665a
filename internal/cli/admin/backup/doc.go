// Package backup is the file that a hub can be made anew from (spec/cli.md §6,
// export and import), and the decision what a hub lacks of it. It asks nobody:
//
//		objects of a hub ─► Scope, Belongs ─► Bare ─► Write ─► file
//		file ─► Read ─► wanted ─┐
//		objects of a hub ───────┴─► Next ─► steps: create, update, prune, leave
//
//	  - kinds.go: what belongs to a hub, in which order; scope.go: in which
//	    namespaces; reference.go: Secrets that ApplicationSets name
//	  - file.go: the form of the file, the same as Argo CD's
//	  - plan.go: what is to be done; merge.go: what is written over what exists
package backup
