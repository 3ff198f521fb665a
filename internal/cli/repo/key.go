package repo

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Keys is the group about keys that sign commits.
func Keys(d *connect.Dialer) *cobra.Command {
	v := &verbs{d: d}
	return command.Group("gpg", "Manage keys that sign commits", v.addKey(), keys.Verb(d, "List keys"), v.getKey(), v.removeKey())
}

func (v *verbs) addKey() *cobra.Command {
	var from string
	c := &cobra.Command{Use: "add", Short: "Add keys from an armored file", Args: command.Args(0, 0)}
	c.Flags().StringVarP(&from, "from", "f", "", "armored file with public keys, - is the input")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if from == "" {
			return fail.Fatal("--from is mandatory")
		}
		raw, err := v.d.Console.ReadFile(from)
		if err != nil {
			return err
		}
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		created, skipped, err := api.CreateGPGKeys(cmd.Context(), string(raw))
		if err != nil {
			return err
		}
		v.d.Console.Printf("Created %d key(s) from input file", len(created))
		if len(skipped) > 0 {
			v.d.Console.Printf(", and %d key(s) were skipped because they exist already", len(skipped))
		}
		v.d.Console.Printf("\n")
		return nil
	}
	return c
}

// keys lists keys.
var keys = command.Listing[client.GPGKey]{
	All:  func(ctx context.Context, c *client.Client) ([]client.GPGKey, error) { return c.GPGKeys(ctx) },
	Name: func(k *client.GPGKey) string { return k.KeyID },
	Table: func(all []client.GPGKey) [][]string {
		table := [][]string{{"KEYID", "TYPE", "IDENTITY"}}
		for i := range all {
			table = append(table, []string{all[i].KeyID, all[i].SubType, all[i].Owner})
		}
		return table
	},
}

func (v *verbs) getKey() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "get KEYID", Short: "Show a key", Args: command.Args(1, 1)}
	c.Flags().StringVarP(&format, "output", "o", "wide", "wide, json or yaml")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := v.d.Client(cmd.Context())
		if err != nil {
			return err
		}
		k, err := api.GPGKey(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if format != "wide" && format != "" {
			return output.Object(v.d.Console.Out, format, k)
		}
		v.d.Console.Printf("Key ID:          %s\nKey fingerprint: %s\nKey subtype:     %s\nKey owner:       %s\nKey data follows until EOF:\n%s\n",
			output.Clean(k.KeyID), output.Clean(k.Fingerprint), output.Clean(k.SubType), output.Clean(k.Owner), k.KeyData)
		return nil
	}
	return c
}

func (v *verbs) removeKey() *cobra.Command {
	return &cobra.Command{
		Use: "rm KEYID", Short: "Remove a key", Args: command.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := v.d.Client(cmd.Context())
			if err != nil {
				return err
			}
			return v.eachConfirmed(args, "key", func(id string) error {
				if err := api.DeleteGPGKey(cmd.Context(), id); err != nil {
					return err
				}
				v.d.Console.Printf("Deleted key with key ID %s\n", id)
				return nil
			})
		},
	}
}
