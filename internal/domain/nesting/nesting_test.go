package nesting_test

import (
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/nesting"
)

func TestLook(t *testing.T) {
	cases := map[string]struct {
		parents map[string]string
		want    nesting.Finding
	}{
		"alone":        {nil, nesting.Finding{}},
		"three levels": {map[string]string{"a": "b", "b": "c"}, nesting.Finding{}},
		"four levels": {map[string]string{"a": "b", "b": "c", "c": "d"},
			nesting.Finding{TooDeep: "4 levels of Applications, more than 3 are hard to follow: d > c > b > a"}},
		"itself": {map[string]string{"a": "a"}, nesting.Finding{Itself: "Application a deploys itself: a bad commit can take away what would repair it"}},
		"a circle": {map[string]string{"a": "b", "b": "c", "c": "a"},
			nesting.Finding{Loop: "Applications deploy each other in a circle: a > c > b > a: remove one of them from the sources of the one before"}},
		"below a circle":     {map[string]string{"a": "b", "b": "c", "c": "b"}, nesting.Finding{}},
		"below a self-owner": {map[string]string{"a": "b", "b": "b"}, nesting.Finding{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := nesting.Look("a", func(n string) string { return c.parents[n] }); got != c.want {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestEndlessChain(t *testing.T) {
	n := 0
	nesting.Look("a", func(string) string { n++; return string(rune('b' + n)) })
	if n > 40 {
		t.Errorf("climbed %d times", n)
	}
}
