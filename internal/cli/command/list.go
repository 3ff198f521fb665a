package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/output"
)

// Listing is what a group needs to list its objects, and to offer their names.
type Listing[T any] struct {
	// All asks a server for them.
	All func(ctx context.Context, c *client.Client) ([]T, error)
	// Name is what completion offers for one, and what the output format Word
	// prints; without a Word there is no such format.
	Name func(*T) string
	Word string
	// Table has a row for each below a header.
	Table func(all []T) [][]string
}

// Verb is the command list.
func (l Listing[T]) Verb(d *connect.Dialer, short string) *cobra.Command {
	var format string
	formats := "wide, json or yaml"
	if l.Word != "" {
		formats = "wide, " + l.Word + ", json or yaml"
	}
	c := &cobra.Command{Use: "list", Short: short, Args: Args(0, 0)}
	c.Flags().StringVarP(&format, "output", "o", "wide", formats)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := d.Client(cmd.Context())
		if err != nil {
			return err
		}
		all, err := l.All(cmd.Context(), api)
		if err != nil {
			return err
		}
		switch format {
		case "wide", "":
			return output.Table(d.Console.Out, l.Table(all))
		case l.Word:
			for i := range all {
				d.Console.Printf("%s\n", l.Name(&all[i]))
			}
			return nil
		}
		return output.List(d.Console.Out, format, all)
	}
	return c
}

// Names offers the names to shells.
func (l Listing[T]) Names(d *connect.Dialer) cobra.CompletionFunc {
	return Complete(d, func(cmd *cobra.Command, c *client.Client) ([]string, error) {
		all, err := l.All(cmd.Context(), c)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range all {
			out = append(out, l.Name(&all[i]))
		}
		return out, nil
	})
}
