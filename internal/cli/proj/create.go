package proj

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/app"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/declare"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// createFlags describe a project that is to be.
type createFlags struct {
	specFlags
	file string
}

func (f *createFlags) register(c *cobra.Command) {
	f.specFlags.register(c.Flags())
	c.Flags().StringVarP(&f.file, "file", "f", "", "file or URL with a project, - is the input")
}

// described makes the project that flags and file describe; one without a name
// prints the help.
func (v *verbs) described(cmd *cobra.Command, f *createFlags, args []string) (*v1alpha1.AppProject, error) {
	p := &v1alpha1.AppProject{}
	if f.file != "" {
		raw, err := app.Fetch(cmd.Context(), v.d.Console, f.file)
		if err != nil {
			return nil, err
		}
		all, err := app.Documents(raw, v1alpha1.AppProjectKind, func(p *v1alpha1.AppProject) string { return p.Kind })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
		if len(all) != 1 {
			return nil, fmt.Errorf("%s holds %d projects: it must be exactly one", f.file, len(all))
		}
		p = &all[0]
	}
	if len(args) > 0 {
		if p.Name != "" && p.Name != args[0] {
			return nil, fmt.Errorf("project name %s does not match project spec metadata.name %s", args[0], p.Name)
		}
		p.Name = args[0]
	}
	if p.Name == "" {
		_ = cmd.Help() // what cannot be written cannot be helped
		return nil, fail.Silent(fail.Failure)
	}
	return p, f.apply(&p.Spec)
}

func (v *verbs) create() *cobra.Command {
	f := &createFlags{}
	var upsert bool
	c := &cobra.Command{Use: "create [PROJECT]", Short: "Create a project", Args: command.Args(0, 1)}
	f.register(c)
	c.Flags().BoolVar(&upsert, "upsert", false, "replace one that is different")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := v.described(cmd, f, args)
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		_, err = api.CreateProject(cmd.Context(), p, upsert)
		return err
	}
	return c
}

// GenerateSpec prints the project that the flags of create describe; no server is
// asked.
func GenerateSpec(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	f := &createFlags{}
	out := &declare.Flags{}
	c := &cobra.Command{Use: "generate-spec [PROJECT]", Short: "Print the project that flags or a file describe, for Git", Args: command.Args(0, 1)}
	f.register(c)
	out.Register(c, true)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := v.described(cmd, f, args)
		if err != nil {
			return err
		}
		p.APIVersion, p.Kind = v1alpha1.GroupVersion.String(), v1alpha1.AppProjectKind
		return out.Print(v.d.Console, f.file, p)
	}
	return c
}
