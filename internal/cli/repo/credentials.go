package repo

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Credentials is the group about templates of credentials.
func Credentials(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("repocreds", "Manage credentials for all repositories below a URL", v.addTemplate(), v.listTemplates(), v.removeTemplate())
}

func (v *verbs) addTemplate() *cobra.Command {
	f := &credentialFlags{}
	var upsert bool
	c := &cobra.Command{Use: "add URLPREFIX", Short: "Add credentials for all repositories below a URL", Args: command.Args(1, 1)}
	f.register(c.Flags(), false)
	c.Flags().BoolVar(&upsert, "upsert", false, "replace those that are different")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := f.template(v.d.Console, args[0])
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		created, err := api.CreateRepoCredentials(cmd.Context(), r, upsert)
		if err != nil {
			return err
		}
		v.d.Console.Printf("Repository credentials for '%s' added\n", created.URL)
		return nil
	}
	return c
}

func (v *verbs) listTemplates() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "list", Short: "List templates of credentials", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, url, json or yaml")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		all, err := api.RepoCredentials(cmd.Context())
		if err != nil {
			return err
		}
		switch format {
		case "url":
			for i := range all {
				v.d.Console.Printf("%s\n", all[i].URL)
			}
			return nil
		case "wide", "":
			table := [][]string{{"URL PATTERN", "USERNAME", "SSH_CREDS", "TLS_CREDS"}}
			for i := range all {
				name := all[i].Username
				if name == "" {
					name = "-"
				}
				table = append(table, []string{all[i].URL, name, strconv.FormatBool(all[i].SSHPrivateKey != ""), strconv.FormatBool(all[i].TLSClientCertData != "")})
			}
			return output.Table(v.d.Console.Out, table)
		}
		return output.List(v.d.Console.Out, format, all)
	}
	return c
}

func (v *verbs) removeTemplate() *cobra.Command {
	return &cobra.Command{
		Use: "rm URLPREFIX...", Short: "Remove templates of credentials", Args: command.Args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			return v.eachConfirmed(args, "credentials", func(url string) error {
				if err := api.DeleteRepoCredentials(cmd.Context(), url); err != nil {
					return err
				}
				v.d.Console.Printf("Repository credentials for '%s' removed\n", url)
				return nil
			})
		},
	}
}
