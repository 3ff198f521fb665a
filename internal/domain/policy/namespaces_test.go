package policy

import (
	"slices"
	"testing"
)

// TestNamespaces: names, globs and /expressions/, each of the whole name.
func TestNamespaces(t *testing.T) {
	for _, c := range []struct {
		list []string
		want []string
		all  bool
	}{
		{nil, nil, false},
		{[]string{" ", ""}, nil, false},
		{[]string{"one", " team-a "}, []string{"one", "team-a"}, false},
		{[]string{"team-*", "one"}, []string{"one", "team-a", "team-b1"}, true},
		{[]string{"{one,two}"}, []string{"one", "two"}, true},
		{[]string{"/team-[a-z]/"}, []string{"team-a"}, true},
		{[]string{"/one|two/"}, []string{"one", "two"}, true},
	} {
		n, err := ParseNamespaces(c.list)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{"one", "two", "team-a", "team-b1", "xteam-a", "x-one"} {
			if n.Has(name) {
				got = append(got, name)
			}
		}
		if _, all := n.Names(); !slices.Equal(got, c.want) || all != c.all || n.Empty() != (c.want == nil) {
			t.Errorf("%q has %v, all %v", c.list, got, all)
		}
	}
	for _, bad := range []string{"[", "/(/"} {
		if _, err := ParseNamespaces([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
