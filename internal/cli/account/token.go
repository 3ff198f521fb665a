package account

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Span reads a duration that may also be in days.
func Span(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, fmt.Errorf("%q is no time such as 12h or 30d", text)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time such as 12h or 30d", text)
	}
	return d, nil
}

func (v *verbs) generateToken() *cobra.Command {
	var name, expires, id string
	c := &cobra.Command{Use: "generate-token", Short: "Make a token for an account", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&name, "account", "a", "", "account; default: the own one")
	c.Flags().StringVarP(&expires, "expires-in", "e", "0s", "how long it is good, such as 12h or 30d; 0s is for ever")
	c.Flags().StringVar(&id, "id", "", "id of the token; default: a random one")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := Span(expires)
		if err != nil {
			return fmt.Errorf("--expires-in: %w", err)
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		who, err := v.own(cmd, api, name)
		if err != nil {
			return err
		}
		token, err := api.AccountToken(cmd.Context(), who, client.TokenRequest{ID: id, ExpiresIn: int64(d.Seconds())})
		if err != nil {
			return err
		}
		v.d.Console.Printf("%s\n", token)
		return nil
	}
	return c
}

func (v *verbs) deleteToken() *cobra.Command {
	var name string
	c := &cobra.Command{Use: "delete-token ID", Short: "Delete a token of an account", Args: command.Args(1, 1)}
	c.Flags().StringVarP(&name, "account", "a", "", "account; default: the own one")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		who, err := v.own(cmd, api, name)
		if err != nil {
			return err
		}
		if v.d.PromptsEnabled() {
			ok, err := v.d.Console.Confirm(fmt.Sprintf("Are you sure you want to delete '%s' token? [y/n] ", args[0]))
			if err != nil {
				return err
			}
			if !ok {
				v.d.Console.Printf("The command to delete '%s' was cancelled.\n", args[0])
				return nil
			}
		}
		return api.DeleteAccountToken(cmd.Context(), who, args[0])
	}
	return c
}

func (v *verbs) sessionToken() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "session-token", Short: "Print the token of this session", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		if api.Token() == "" {
			return fail.New(v.d.Console.Name+" login SERVER", "nobody is logged in")
		}
		if format == "" {
			v.d.Console.Printf("%s\n", api.Token())
			return nil
		}
		out := session{Type: "sso", Token: api.Token()}
		if claims := connect.Read(api.Token()); claims != nil {
			if claims.Local() {
				out.Type = "local"
			}
			stamp := func(seconds float64) string {
				if seconds == 0 {
					return ""
				}
				return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
			}
			out.Issuer, out.Username, out.IssuedAt, out.ExpiresAt = claims.Issuer, claims.Who(), stamp(claims.IssuedAt), stamp(claims.Expires)
		}
		if current, err := v.d.Current(); err == nil && current != nil {
			out.HasRefresh = current.User.RefreshToken != ""
		}
		return output.Object(v.d.Console.Out, format, out)
	}
	return c
}
