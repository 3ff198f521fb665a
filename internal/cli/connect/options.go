package connect

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/cli/console"
)

// Env of flags.
const optionsKey = "ARGOCD_OPTS"

// Apply sets the flags of ARGOCD_OPTS that the command line does not set. What
// is no flag of ours is left alone: scripts share the variable.
func (f *Flags) Apply(getenv func(string) string) error {
	words, err := console.Words(getenv(optionsKey))
	if err != nil {
		return fmt.Errorf("%s invalid: %w", optionsKey, err)
	}
	options, err := parse(words)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	f.set.VisitAll(func(flag *pflag.Flag) { given[flag.Name] = flag.Changed })
	for _, o := range options {
		if f.set.Lookup(o.name) == nil || given[o.name] {
			continue
		}
		if err := f.set.Set(o.name, o.value); err != nil {
			return fmt.Errorf("%s invalid at '--%s': %w", optionsKey, o.name, err)
		}
	}
	return nil
}

type option struct{ name, value string }

// parse reads --flag, --flag value and --flag=value.
func parse(words []string) ([]option, error) {
	var out []option
	open := false // the last option may take the next word as its value
	for _, w := range words {
		name, isFlag := strings.CutPrefix(w, "--")
		switch {
		case isFlag && name != "":
			name, value, given := strings.Cut(name, "=")
			if !given {
				value = "true"
			}
			out = append(out, option{name, value})
			open = !given
		case open:
			out[len(out)-1].value = w
			open = false
		default:
			return nil, fmt.Errorf("%s invalid at '%s'", optionsKey, w)
		}
	}
	return out, nil
}
