package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// contexts are the names that completion offers.
func contexts(d *connect.Dialer) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		f, err := d.Local()
		if err != nil || f == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, c := range f.Contexts {
			names = append(names, c.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func contextCommand(d *connect.Dialer) *cobra.Command {
	var remove bool
	var format string
	c := &cobra.Command{Use: "context [CONTEXT]", Aliases: []string{"ctx"}, Short: "Show contexts and switch between them", Args: command.Args(0, 1), ValidArgsFunction: contexts(d)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "form of the list: wide, json or yaml")
	c.Flags().BoolVar(&remove, "delete", false, "delete the context instead of switching to it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := d.Path(d.Console)
		if err != nil {
			return err
		}
		f, err := config.Read(path)
		if err != nil {
			return err
		}
		switch {
		case remove && len(args) == 0:
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		case f == nil:
			return fail.Fatal("No local configuration found")
		case remove:
			return deleteContext(cmd.Context(), d, args[0])
		case len(args) == 0:
			return printContexts(d, f, format)
		}
		return switchContext(cmd.Context(), d, path, args[0])
	}
	return c
}

// known is a context without what it opens.
type known struct {
	Name    string `json:"name"`
	Server  string `json:"server"`
	Current bool   `json:"current"`
}

func printContexts(d *connect.Dialer, f *config.File, format string) error {
	var all []known
	for _, ref := range f.Contexts {
		c, err := f.Resolve(ref.Name)
		if err != nil {
			d.Log("warn", fmt.Sprintf("Context '%s' had error: %v", ref.Name, err))
			continue
		}
		all = append(all, known{c.Name, c.Server.Server, f.CurrentContext == ref.Name})
	}
	return output.Listed(d.Console.Out, format, all, func() [][]string {
		rows := [][]string{{"CURRENT", "NAME", "SERVER"}}
		for _, k := range all {
			mark := " "
			if k.Current {
				mark = "*"
			}
			rows = append(rows, []string{mark, k.Name, k.Server})
		}
		return rows
	})
}

func switchContext(ctx context.Context, d *connect.Dialer, path, name string) error {
	said := "Switched to context '%s'\n"
	err := d.Change(ctx, func(f *config.File) error {
		if name == "-" {
			if name = config.Previous(path); name == "" {
				return fail.Fatal("there is no previous context: name one")
			}
		}
		if f.CurrentContext == name {
			said = "Already at context '%s'\n"
			return nil
		}
		if _, err := f.Resolve(name); err != nil {
			return undefined(d, f, err, name)
		}
		f.CurrentContext = name
		return nil
	})
	if err == nil {
		d.Console.Printf(said, name)
	}
	return err
}

// undefined names a context that is near.
func undefined(d *connect.Dialer, f *config.File, err error, name string) error {
	out := &fail.Error{Code: fail.Failure, Err: err, Remedy: d.Console.Name + " context"}
	var names []string
	for _, c := range f.Contexts {
		names = append(names, c.Name)
	}
	if near := command.Near(name, names); near != "" {
		out.Err = fmt.Errorf("%w, did you mean '%s'?", err, near)
		out.Remedy = d.Console.Name + " context " + near
	}
	return out
}

func deleteContext(ctx context.Context, d *connect.Dialer, name string) error {
	err := d.Change(ctx, func(f *config.File) error {
		if !f.Remove(name) {
			return undefined(d, f, fmt.Errorf("Context %s does not exist", name), name)
		}
		if f.Empty() { // with the last context goes the file
			*f = config.File{}
		}
		return nil
	})
	if err == nil {
		d.Console.Printf("Context '%s' deleted\n", name)
	}
	return err
}

func configureCommand(d *connect.Dialer) *cobra.Command {
	var prompts bool
	c := &cobra.Command{Use: "configure", Short: "Change what the configuration file says of this program", Args: command.Args(0, 0)}
	// The flag of the same name that all commands have would ask for this call.
	c.Flags().BoolVar(&prompts, "prompts-enabled", false, "ask before anything is changed")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.Flags().Changed("prompts-enabled") {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		err := d.Change(cmd.Context(), func(f *config.File) error {
			f.PromptsEnabled = prompts
			return nil
		})
		if err != nil {
			return err
		}
		d.Console.Printf("Successfully updated the following configuration settings:\nprompts-enabled: %t\n", prompts)
		return nil
	}
	return c
}

func completionCommand(d *connect.Dialer) *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a completion script for a shell", Args: command.Args(1, 1),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), d.Console.Out
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			return fail.Fatal("unsupported shell %q: use bash, zsh, fish or powershell", args[0])
		},
	}
}
