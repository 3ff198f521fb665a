package proj

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/account"
	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

func (v *verbs) createToken() *cobra.Command {
	var expires, id string
	var only bool
	c := &cobra.Command{Use: "create-token PROJECT ROLE-NAME", Aliases: []string{"token-create"}, Short: "Make a token for a role", Args: command.Args(2, 2), ValidArgsFunction: v.names()}
	c.Flags().StringVarP(&expires, "expires-in", "e", "", "how long it is good, such as 12h or 30d; default: for ever")
	c.Flags().StringVarP(&id, "id", "i", "", "id of the token; default: a random one")
	c.Flags().BoolVarP(&only, "token-only", "t", false, "print the token alone")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		request := client.TokenRequest{ID: id}
		if expires != "" {
			d, err := account.Span(expires)
			if err != nil {
				return fmt.Errorf("--expires-in: %w", err)
			}
			request.ExpiresIn = int64(d.Seconds())
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		token, err := api.ProjectToken(cmd.Context(), args[0], args[1], request)
		if err != nil {
			return err
		}
		if only {
			v.d.Console.Printf("%s\n", token)
			return nil
		}
		claims := connect.Read(token)
		if claims == nil {
			return fail.Fatal("the server gave something that is no token")
		}
		end := "Never"
		if claims.Expires > 0 {
			end = time.Unix(int64(claims.Expires), 0).UTC().Format(time.RFC3339)
		}
		v.d.Console.Printf("Create token succeeded for %s.\n  ID: %s\n  Issued At: %s\n  Expires At: %s\n  Token: %s\n",
			claims.Subject, claims.ID, time.Unix(int64(claims.IssuedAt), 0).UTC().Format(time.RFC3339), end, token)
		return nil
	}
	return c
}

func (v *verbs) deleteToken() *cobra.Command {
	return &cobra.Command{
		Use: "delete-token PROJECT ROLE-NAME ISSUED-AT", Aliases: []string{"token-delete", "remove-token"}, Short: "Delete a token of a role", Args: command.Args(3, 3), ValidArgsFunction: v.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := strconv.ParseInt(args[2], 10, 64)
			if err != nil {
				return fail.New("proj role list-tokens "+args[0]+" "+args[1]+" --unixtime", "ISSUED-AT %q is no number of seconds", args[2])
			}
			if v.d.PromptsEnabled() {
				ok, err := v.d.Console.Confirm(fmt.Sprintf("Are you sure you want to delete '%s' project token? [y/n] ", args[0]))
				if err != nil || !ok {
					return err
				}
			}
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			return api.DeleteProjectToken(cmd.Context(), args[0], args[1], at)
		},
	}
}

func (v *verbs) listTokens() *cobra.Command {
	var unix bool
	var format string
	c := v.looking("list-tokens PROJECT ROLE-NAME", "List tokens of a role", 2, func(p *v1alpha1.AppProject, args []string) error {
		r, err := roleOf(p, args[0])
		if err != nil {
			return err
		}
		all := tokensOf(p, r)
		if format != "wide" && format != "" {
			return output.List(v.d.Console.Out, format, all)
		}
		if len(all) == 0 {
			v.d.Console.Printf("No tokens for %s.%s\n", p.Name, r.Name)
			return nil
		}
		return printTokens(v.d.Console.Out, all, unix)
	})
	c.Aliases = []string{"list-token", "token-list"}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.Flags().BoolVarP(&unix, "unixtime", "u", false, "times in seconds since 1970")
	return c
}
