// Package nesting looks at Applications that are deployed by Applications: how
// deep they lie, and whether they depend on themselves.
package nesting

import (
	"fmt"
	"slices"
	"strings"
)

// MaxLevels of Applications above one another that people can still follow.
const MaxLevels = 3

// maxClimb bounds the way up.
const maxClimb = 32

// Finding is what is wrong with the place of an Application; empty texts are
// nothing.
type Finding struct {
	// TooDeep names the chain from the outermost Application to this one.
	TooDeep string
	// Loop names the Applications that deploy each other in a circle.
	Loop string
	// Itself says that the Application deploys itself.
	Itself string
}

// Look follows from an Application to the ones that deploy it. parent gives
// the name of that one, "" when nobody does.
func Look(name string, parent func(string) string) Finding {
	chain := []string{name}
	for range maxClimb {
		up := parent(chain[len(chain)-1])
		if up == "" {
			break
		}
		at := slices.Index(chain, up)
		switch {
		case at == 0 && len(chain) == 1:
			return Finding{Itself: fmt.Sprintf("Application %s deploys itself: a bad commit can take away what would repair it", name)}
		case at == 0:
			return Finding{Loop: fmt.Sprintf("Applications deploy each other in a circle: %s: remove one of them from the sources of the one before", arrows(append(chain, up)))}
		case at > 0: // a circle above this one is said by those in it
			return Finding{}
		}
		chain = append(chain, up)
	}
	if len(chain) <= MaxLevels {
		return Finding{}
	}
	return Finding{TooDeep: fmt.Sprintf("%d levels of Applications, more than %d are hard to follow: %s", len(chain), MaxLevels, arrows(chain))}
}

// arrows draws a chain from the outermost to the innermost.
func arrows(chain []string) string {
	out := slices.Clone(chain)
	slices.Reverse(out)
	return strings.Join(out, " > ")
}
