// Package app is the group of commands about Applications (spec/cli.md §2).
//
//   - summary.go, state.go, tree.go: what people see of an Application
//   - list.go, get.go, history.go, resources.go, explain.go: reading
//   - source.go, create.go, set.go, edit.go, delete.go: writing
//   - sync.go, rollback.go, wait.go, progress.go, live.go: operations and how they go on
//   - diff.go, manifests.go: what Git says beside what is there
//   - resource.go, action.go, logs.go: single objects
package app

import (
	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
)

// verbs makes the commands of the group.
type verbs struct{ d *connect.Dialer }

// Command is the group.
func Command(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("app", "Manage Applications",
		v.list(), v.get(), v.create(), v.set(), v.unset(), v.edit(), v.patch(), v.delete(),
		v.sync(), v.wait(), v.rollback(), v.resume(), v.terminate(), v.history(), v.diff(), v.manifests(),
		v.resources(), v.getResource(), v.patchResource(), v.deleteResource(), v.actions(), v.logs(),
		v.addSource(), v.removeSource(), v.confirmDeletion(), v.explain(),
	)
}

// appID is what an argument names; the namespace is that of -N.
func appID(arg, namespace string) client.App {
	ns, name := command.Name(arg, namespace)
	return client.App{Namespace: ns, Name: name}
}
