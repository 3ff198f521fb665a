// Package account is the group of commands about local accounts and about who
// the caller is (spec/cli.md §1.6, §3.3 and §5).
package account

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/config"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

type verbs struct{ d *connect.Dialer }

// Command is the group.
func Command(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("account", "Manage local accounts",
		listing.Verb(d, "List accounts"), v.get(), v.canI(), v.generateToken(), v.deleteToken(), v.userInfo(), v.updatePassword(), v.bcrypt(), v.sessionToken())
}

// listing lists accounts.
var listing = command.Listing[client.Account]{
	All: func(ctx context.Context, c *client.Client) ([]client.Account, error) { return c.Accounts(ctx) }, Word: "name",
	Name: func(a *client.Account) string { return a.Name },
	Table: func(all []client.Account) [][]string {
		table := [][]string{{"NAME", "ENABLED", "CAPABILITIES"}}
		for _, a := range all {
			table = append(table, []string{a.Name, strconv.FormatBool(a.Enabled), strings.Join(a.Capabilities, ", ")})
		}
		return table
	},
}

// own is the account that flags name, or that of the caller.
func (v *verbs) own(cmd *cobra.Command, api *client.Client, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	who, err := api.UserInfo(cmd.Context())
	if err != nil {
		return "", err
	}
	if who.Username == "" {
		return "", fail.New(v.d.Console.Name+" login SERVER", "nobody is logged in: name the account with --account")
	}
	return who.Username, nil
}

func (v *verbs) get() *cobra.Command {
	var format, name string
	c := &cobra.Command{Use: "get", Short: "Show an account", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, name, json or yaml")
	c.Flags().StringVarP(&name, "account", "a", "", "account; default: the own one")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		who, err := v.own(cmd, api, name)
		if err != nil {
			return err
		}
		a, err := api.Account(cmd.Context(), who)
		if err != nil {
			return err
		}
		switch format {
		case "name":
			v.d.Console.Printf("%s\n", a.Name)
			return nil
		case "wide", "":
			return printAccount(v.d.Console.Out, a, v.d.Console.Clock.Now())
		}
		return output.Object(v.d.Console.Out, format, a)
	}
	return c
}

func printAccount(w io.Writer, a *client.Account, now time.Time) error {
	for _, r := range [][2]string{{"Name:", a.Name}, {"Enabled:", strconv.FormatBool(a.Enabled)}, {"Capabilities:", strings.Join(a.Capabilities, ", ")}} {
		if err := output.Row(w, r[0], r[1]); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w, "\nTokens:"); err != nil {
		return err
	}
	if len(a.Tokens) == 0 {
		_, err := fmt.Fprintln(w, "NONE")
		return err
	}
	table := [][]string{{"ID", "ISSUED AT", "EXPIRING AT"}}
	for _, t := range a.Tokens {
		expires := "never"
		if t.ExpiresAt > 0 {
			at := time.Unix(t.ExpiresAt, 0)
			expires = at.UTC().Format(time.RFC3339)
			if at.Before(now) {
				expires += " (expired)"
			}
		}
		table = append(table, []string{t.ID, time.Unix(t.IssuedAt, 0).UTC().Format(time.RFC3339), expires})
	}
	return output.Table(w, table)
}

func (v *verbs) canI() *cobra.Command {
	return &cobra.Command{
		Use: "can-i ACTION RESOURCE SUBRESOURCE", Short: "Say whether you may do something", Args: command.Args(3, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			answer, err := api.CanI(cmd.Context(), args[1], args[0], args[2])
			if err != nil {
				return err
			}
			v.d.Console.Printf("%s\n", answer)
			return nil
		},
	}
}

func (v *verbs) userInfo() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "get-user-info", Aliases: []string{"whoami"}, Short: "Say who you are for the server", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "", "json or yaml")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		who, err := api.UserInfo(cmd.Context())
		if err != nil {
			return err
		}
		if format != "" {
			return output.Object(v.d.Console.Out, format, who)
		}
		v.d.Console.Printf("Logged In: %t\n", who.LoggedIn)
		if who.LoggedIn {
			v.d.Console.Printf("Username: %s\nIssuer: %s\nGroups: %s\n", output.Clean(who.Username), output.Clean(who.Issuer), output.Clean(strings.Join(who.Groups, ",")))
		}
		return nil
	}
	return c
}

func (v *verbs) updatePassword() *cobra.Command {
	var name, current, fresh string
	c := &cobra.Command{Use: "update-password", Short: "Set the password of an account", Args: command.Args(0, 0)}
	c.Flags().StringVar(&name, "account", "", "account; default: the own one")
	c.Flags().StringVar(&current, "current-password", "", "password of the caller")
	c.Flags().StringVar(&fresh, "new-password", "", "new password of the account")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		who, err := api.UserInfo(cmd.Context())
		if err != nil {
			return err
		}
		if current == "" && who.Issuer == connect.LocalIssuer {
			if current, err = v.d.Console.AskSecret(fmt.Sprintf("*** Enter password of currently logged in user (%s): ", who.Username)); err != nil {
				return err
			}
		}
		if fresh == "" {
			if fresh, err = v.askTwice(cmdName(name, who.Username)); err != nil {
				return err
			}
		}
		if err := api.UpdatePassword(cmd.Context(), name, current, fresh); err != nil {
			return err
		}
		v.d.Console.Printf("Password updated\n")
		if who.Issuer != connect.LocalIssuer || name != "" && name != who.Username {
			return nil
		}
		return v.again(cmd, api, who.Username, fresh)
	}
	return c
}

func cmdName(name, own string) string {
	if name != "" {
		return name
	}
	return own
}

func (v *verbs) askTwice(name string) (string, error) {
	for {
		one, err := v.d.Console.AskSecret(fmt.Sprintf("*** Enter new password for user %s: ", name))
		if err != nil {
			return "", err
		}
		two, err := v.d.Console.AskSecret(fmt.Sprintf("*** Confirm new password for user %s: ", name))
		if err != nil {
			return "", err
		}
		if one == two {
			return one, nil
		}
		v.d.Console.Warnf("Passwords do not match")
	}
}

// again logs in with the new password: the token before died with the old one.
func (v *verbs) again(cmd *cobra.Command, api *client.Client, name, password string) error {
	current, err := v.d.Current()
	if err != nil || current == nil {
		return err
	}
	token, err := api.Login(cmd.Context(), name, password)
	if err != nil {
		return err
	}
	err = v.d.Change(cmd.Context(), func(f *config.File) error {
		user := current.User
		user.AuthToken = token
		f.PutUser(user)
		return nil
	})
	if err != nil {
		return err
	}
	v.d.Console.Printf("Context '%s' updated\n", current.Name)
	return nil
}

func (v *verbs) bcrypt() *cobra.Command {
	var password string
	c := &cobra.Command{Use: "bcrypt", Short: "Print the bcrypt hash of a password", Args: command.Args(0, 0)}
	c.Flags().StringVar(&password, "password", "", "the password; default: the input")
	c.RunE = func(*cobra.Command, []string) error {
		if password == "" {
			var err error
			if v.d.Console.InTerminal {
				v.d.Console.Warnf("*** Enter password: ")
				password, err = v.d.Console.Secret()
			} else {
				password, err = v.d.Console.Line()
			}
			if err != nil {
				return err
			}
		}
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
		if err != nil {
			return fail.Fatal("Failed to generate bcrypt hash: %w", err)
		}
		v.d.Console.Printf("%s", hash)
		return nil
	}
	return c
}

// session is what account session-token -o json prints.
type session struct {
	Type       string `json:"type"`
	Issuer     string `json:"issuer,omitempty"`
	Username   string `json:"username,omitempty"`
	Token      string `json:"token"`
	HasRefresh bool   `json:"has_refresh_token"`
	IssuedAt   string `json:"issued_at,omitempty"`
	ExpiresAt  string `json:"expires_at,omitempty"`
}
