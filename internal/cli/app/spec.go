package app

import (
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/declare"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// GenerateSpec prints the Application that the flags of create describe; no server
// is asked.
func GenerateSpec(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	f := &createFlags{}
	out := &declare.Flags{}
	c := &cobra.Command{Use: "generate-spec [APPNAME]", Short: "Print the Applications that flags or a file describe, for Git", Args: command.Args(0, 1)}
	f.register(c)
	v.namespaceFlag(c, &f.namespace)
	out.Register(c, true)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		apps, err := v.described(cmd, f, args)
		if err != nil {
			return err
		}
		all := make([]runtime.Object, len(apps))
		for i := range apps {
			all[i] = &apps[i]
		}
		return out.Print(v.d.Console, f.file, all...)
	}
	return c
}

// described makes the Applications that flags and file describe; none prints the
// help.
func (v *verbs) described(cmd *cobra.Command, f *createFlags, args []string) ([]v1alpha1.Application, error) {
	arg := f.name
	if len(args) > 0 {
		arg = args[0]
	}
	f.spec.fetch = v.fetcher(cmd.Context())
	apps, err := v.describe(cmd.Context(), f, arg)
	if err == nil && len(apps) == 0 {
		_ = cmd.Help() // what cannot be written cannot be helped
		return nil, fail.Silent(fail.Failure)
	}
	return apps, err
}
