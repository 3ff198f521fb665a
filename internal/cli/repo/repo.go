// Package repo holds the commands about sources: repositories, templates of
// credentials, certificates and keys (spec/cli.md §3.2 and §5).
//
//   - repo.go, flags.go: repositories; credentials.go: templates
//   - certificate.go, key.go: what connections and commits are checked with
package repo

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/declare"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
	"github.com/sluice-cd/sluice/internal/cli/registration"
)

type verbs struct{ d *connect.Dialer }

// Command is the group about repositories.
func Command(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("repo", "Manage repositories", v.add(), v.list(), v.get(), v.remove())
}

// names offers repositories to shells.
func (v *verbs) names() cobra.CompletionFunc {
	return command.Complete(v.d, func(cmd *cobra.Command, c *client.Client) ([]string, error) {
		all, err := c.Repositories(cmd.Context(), false)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range all {
			out = append(out, all[i].Repo)
		}
		return out, nil
	})
}

func (v *verbs) add() *cobra.Command {
	f := &credentialFlags{}
	var upsert bool
	c := &cobra.Command{Use: "add REPOURL", Short: "Register a repository", Args: command.Args(1, 1)}
	f.register(c.Flags(), true)
	c.Flags().BoolVar(&upsert, "upsert", false, "replace one that is different")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := f.repository(v.d.Console, args[0])
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		created, err := api.CreateRepository(cmd.Context(), r, upsert)
		if err != nil {
			return err
		}
		v.d.Console.Printf("Repository '%s' added\n", created.Repo)
		return nil
	}
	return c
}

// refreshed reads --refresh.
func refreshed(value string) (bool, error) {
	switch value {
	case "":
		return false, nil
	case "hard":
		return true, nil
	}
	return false, fail.New("use --refresh hard, or leave it out", "unknown refresh value %q: it must be hard", value)
}

func (v *verbs) list() *cobra.Command {
	var format, refresh string
	c := &cobra.Command{Use: "list", Short: "List repositories", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, url, json or yaml")
	c.Flags().StringVar(&refresh, "refresh", "", "hard tests the connections again")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		again, err := refreshed(refresh)
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		all, err := api.Repositories(cmd.Context(), again)
		if err != nil {
			return err
		}
		return v.print(all, format, func() error { return output.List(v.d.Console.Out, format, all) })
	}
	return c
}

func (v *verbs) print(all []client.Repository, format string, object func() error) error {
	switch format {
	case "url":
		for i := range all {
			v.d.Console.Printf("%s\n", all[i].Repo)
		}
		return nil
	case "wide", "":
	default:
		return object()
	}
	table := [][]string{{"TYPE", "NAME", "REPO", "INSECURE", "OCI", "LFS", "CREDS", "STATUS", "MESSAGE", "PROJECT"}}
	for i := range all {
		r := &all[i]
		creds := "false"
		switch {
		case r.InheritedCreds:
			creds = "inherited"
		case r.Username != "" || r.Password != "" || r.SSHPrivateKey != "" || r.GithubAppID != 0 || r.BearerToken != "" || r.UseAzureWorkloadIdentity || r.AzureClientID != "":
			creds = "true"
		}
		var state client.ConnectionState
		if r.ConnectionState != nil {
			state = *r.ConnectionState
		}
		kind := r.Type
		if kind == "" {
			kind = "git"
		}
		table = append(table, []string{
			kind, r.Name, r.Repo, strconv.FormatBool(r.Insecure || r.InsecureIgnoreHostKey), strconv.FormatBool(r.EnableOCI), strconv.FormatBool(r.EnableLFS),
			creds, state.Status, state.Message, r.Project,
		})
	}
	return output.Table(v.d.Console.Out, table)
}

func (v *verbs) get() *cobra.Command {
	var format, refresh, project string
	c := &cobra.Command{Use: "get REPOURL", Short: "Show a repository", Args: command.Args(1, 1), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, url, json or yaml")
	c.Flags().StringVar(&refresh, "refresh", "", "hard tests the connection again")
	c.Flags().StringVar(&project, "project", "", "project that the repository belongs to")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		again, err := refreshed(refresh)
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		r, err := api.Repository(cmd.Context(), args[0], project, again)
		if err != nil {
			return err
		}
		return v.print([]client.Repository{*r}, format, func() error { return output.Object(v.d.Console.Out, format, r) })
	}
	return c
}

func (v *verbs) remove() *cobra.Command {
	var project string
	c := &cobra.Command{Use: "rm REPOURL...", Short: "Forget repositories", Args: command.Args(1, -1), ValidArgsFunction: v.names()}
	c.Flags().StringVar(&project, "project", "", "project that the repository belongs to")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		return v.eachConfirmed(args, "repository", func(url string) error {
			if err := api.DeleteRepository(cmd.Context(), url, project); err != nil {
				return err
			}
			v.d.Console.Printf("Repository '%s' removed\n", url)
			return nil
		})
	}
	return c
}

// eachConfirmed does something with every name, after the optional question.
func (v *verbs) eachConfirmed(names []string, what string, do func(string) error) error {
	for _, n := range names {
		if v.d.PromptsEnabled() {
			ok, err := v.d.Console.Confirm("Are you sure you want to remove " + what + " '" + n + "'? [y/n] ")
			if err != nil {
				return err
			}
			if !ok {
				v.d.Console.Printf("The command to delete '%s' was cancelled.\n", n)
				continue
			}
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

// GenerateSpec prints the Secret that declares the repository that the flags of
// add describe; no server is asked.
func GenerateSpec(d *connect.Dialer) *cobra.Command {
	f := &credentialFlags{}
	out := &declare.Flags{}
	c := &cobra.Command{Use: "generate-spec REPOURL", Short: "Print the Secret that declares a repository, for Git", Args: command.Args(1, 1)}
	f.register(c.Flags(), true)
	out.Register(c, false)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := f.repository(d.Console, args[0])
		if err != nil {
			return err
		}
		s, err := registration.Repository(r)
		if err != nil {
			return err
		}
		if n := cmd.Flag("namespace"); n != nil {
			s.Namespace = n.Value.String() // declarations in Git are for more than one hub
		}
		return out.Print(d.Console, "", s)
	}
	return c
}
