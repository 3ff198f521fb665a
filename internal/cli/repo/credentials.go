package repo

import (
	"cmp"
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
)

// Credentials is the group about templates of credentials.
func Credentials(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("repocreds", "Manage credentials for all repositories below a URL", v.addTemplate(), templates.Verb(d, "List templates of credentials"), v.removeTemplate())
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

// templates lists templates of credentials.
var templates = command.Listing[client.RepoCreds]{
	All:  func(ctx context.Context, c *client.Client) ([]client.RepoCreds, error) { return c.RepoCredentials(ctx) },
	Name: func(r *client.RepoCreds) string { return r.URL }, Word: "url",
	Table: func(all []client.RepoCreds) [][]string {
		table := [][]string{{"URL PATTERN", "USERNAME", "SSH_CREDS", "TLS_CREDS"}}
		for i := range all {
			table = append(table, []string{
				all[i].URL, cmp.Or(all[i].Username, "-"), strconv.FormatBool(all[i].SSHPrivateKey != ""), strconv.FormatBool(all[i].TLSClientCertData != ""),
			})
		}
		return table
	},
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
