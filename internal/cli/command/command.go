// Package command holds what all commands of the command line share: groups
// that show their help, argument counts, names of objects, and what completion
// offers.
package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// Group is a command that only holds others: bare, it prints its help and ends
// with exit code 1.
func Group(use, short string, subs ...*cobra.Command) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	c := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			_ = cmd.Help() // what cannot be written cannot be helped
			return fail.Silent(fail.Failure)
		}
		return Unknown(cmd, args[0])
	}
	c.AddCommand(subs...)
	return c
}

// Unknown is the error for a command that does not exist, with near names.
func Unknown(parent *cobra.Command, name string) error {
	err := &fail.Error{Code: fail.Failure, Err: fmt.Errorf("unknown command %q for %q", name, parent.CommandPath())}
	names := []string{}
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	if near := Near(name, names); near != "" {
		err.Err = fmt.Errorf("%w, did you mean %q?", err.Err, near)
		err.Remedy = parent.CommandPath() + " " + near
	} else {
		err.Remedy = parent.CommandPath() + " --help"
	}
	return err
}

// FlagError is the error for flags that are wrong, with near names.
func FlagError(cmd *cobra.Command, err error) error {
	out := &fail.Error{Code: fail.Failure, Err: err, Remedy: cmd.CommandPath() + " --help"}
	_, bad, ok := strings.Cut(err.Error(), "unknown flag: --")
	if !ok {
		return out
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := Near(bad, names); near != "" {
		out.Err = fmt.Errorf("%w, did you mean --%s?", err, near)
		out.Remedy = cmd.CommandPath() + " --" + near
	}
	return out
}

// Near is the name that is nearest to what somebody wrote; "" when none is near.
func Near(wrote string, names []string) string {
	best, least := "", max(2, len(wrote)/3)+1
	slices.Sort(names)
	for _, n := range names {
		d := distance(strings.ToLower(wrote), strings.ToLower(n))
		if len(wrote) > 2 && strings.HasPrefix(n, wrote) {
			d = min(d, 1)
		}
		if d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the edits from a to b (Levenshtein, a swap is one).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}

// Args bounds the number of arguments; most < 0 is no bound. A wrong number
// prints the help and ends with exit code 1.
func Args(least, most int) cobra.PositionalArgs { return args(least, most, fail.Failure) }

// ArgsExit is Args with another exit code.
func ArgsExit(least, most, code int) cobra.PositionalArgs { return args(least, most, code) }

func args(least, most, code int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_ = cmd.Help() // what cannot be written cannot be helped
		return fail.Silent(code)
	}
}

// Name splits namespace/name; otherwise is the namespace of a bare name.
func Name(text, otherwise string) (namespace, name string) {
	if ns, n, ok := strings.Cut(text, "/"); ok {
		return ns, n
	}
	return otherwise, text
}

// Complete offers the names that a list gives, to shells: for the first argument,
// and for others of commands whose usage says that there may be more of them.
func Complete(d *connect.Dialer, list func(cmd *cobra.Command, c *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !strings.Contains(cmd.Use, "...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := d.Client(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := list(cmd, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// Pairs reads key=value words into a map; what names the flag in errors.
func Pairs(words []string, what string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(words))
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%s %q: want KEY=VALUE", what, w)
		}
		out[k] = v
	}
	return out, nil
}
