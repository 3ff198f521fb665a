package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestChangesOfOneObjectBecomeOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ put, want string }{
		{"a+ b+", "a+ b+"},
		{"a+ a~ a~", "a+"},
		{"a~ b~ a~", "a~ b~"},
		{"a+ a-", ""},
		{"a+ a- b~ a+", "b~ a+"},
		{"a- a+", "a~"},
		{"a~ a-", "a-"},
		{"a- a+ a-", "a-"},
	} {
		q := NewQueue[string, int]()
		kinds := map[string]Kind{"+": Added, "~": Modified, "-": Deleted}
		for i, word := range strings.Fields(c.put) {
			q.Put(word[:1], Change[int]{Kind: kinds[word[1:]], Value: i})
		}
		q.Put("end", Change[int]{Kind: Added, Value: -1})
		out, err := q.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, change := range out[:len(out)-1] {
			word := strings.Fields(c.put)[change.Value]
			for sign, kind := range kinds {
				if kind == change.Kind {
					got = append(got, word[:1]+sign)
				}
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: got %q, want %q", c.put, text, c.want)
		}
	}
}

func TestSlowReaderCostsOneEntryPerObject(t *testing.T) {
	t.Parallel()
	q := NewQueue[string, int]()
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 10_000 {
				kind := Modified
				if w == 0 { // comes and goes, without a trace
					kind = []Kind{Added, Deleted}[i%2]
				}
				q.Put(fmt.Sprint(w, i%10), Change[int]{Kind: kind, Value: i})
			}
		})
	}
	writers.Wait()
	if n := q.Len(); n > 80 {
		t.Errorf("%d entries wait for 80 objects", n)
	}
	if len(q.order) > 80 {
		t.Errorf("order has %d entries for 80 objects", len(q.order))
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewQueue[string, int]().Take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
