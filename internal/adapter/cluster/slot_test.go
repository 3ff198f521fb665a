package cluster

import (
	"context"
	"errors"
	"testing"
)

// TestWritesAtOnce: no more writes than that are on their way to one cluster;
// who waits for one to end goes on with it, or ends with its context.
func TestWritesAtOnce(t *testing.T) {
	c := &Connection{slots: make(chan struct{}, writesAtOnce)}
	var releases []func()
	for range writesAtOnce {
		release, err := c.slot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.slot(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("one write too many: %v", err)
	}
	next := make(chan error)
	go func() {
		_, err := c.slot(t.Context())
		next <- err
	}()
	releases[0]()
	if err := <-next; err != nil {
		t.Errorf("after a write has ended: %v", err)
	}
}
