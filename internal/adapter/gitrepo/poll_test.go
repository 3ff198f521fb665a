package gitrepo

import (
	"fmt"
	"testing"
	"time"
)

func TestPause(t *testing.T) {
	normal := Pace{Every: 15 * time.Second, Jitter: 3 * time.Second}
	slow := Pace{Every: 10 * time.Minute}
	for _, c := range []struct {
		pace        Pace
		failures    int
		failure     error
		least, most time.Duration
	}{
		{normal, 0, nil, 15 * time.Second, 18 * time.Second},
		{Pace{Every: time.Minute}, 0, nil, time.Minute, time.Minute},
		{normal, 1, errTimeout, time.Second, 1200 * time.Millisecond},
		{normal, 2, errRemote, 2 * time.Second, 2400 * time.Millisecond},
		{normal, 4, errRemote, 8 * time.Second, 9600 * time.Millisecond},
		{normal, 50, errRemote, 8 * time.Second, 9600 * time.Millisecond},
		{slow, 50, errRemote, 8 * time.Second, 9600 * time.Millisecond}, // the end of an outage shows at once
		{slow, 81, errRemote, 10 * time.Minute, 10 * time.Minute},
		{Pace{}, 81, errRemote, 8 * time.Second, 8 * time.Second},
		{normal, 1, errRefused, 30 * time.Second, 36 * time.Second},
		{normal, 2, errRefused, time.Minute, 72 * time.Second},
		{normal, 500, errRefused, 5 * time.Minute, 6 * time.Minute},
		{normal, 1, errThrottled, time.Minute, 72 * time.Second},
		{normal, 500, errThrottled, 10 * time.Minute, 12 * time.Minute},
		{slow, 1, errRefused, 10 * time.Minute, 12 * time.Minute},
	} {
		failure := c.failure
		if failure != nil {
			failure = fmt.Errorf("repository x: %w", &gitError{verb: "ls-remote", said: "x", kind: c.failure})
		}
		different := map[time.Duration]bool{}
		for range 200 {
			got := pause(c.pace, c.failures, failure)
			if got < c.least || got > c.most {
				t.Fatalf("pause(%+v, %d, %v) = %s, want %s to %s", c.pace, c.failures, c.failure, got, c.least, c.most)
			}
			different[got] = true
		}
		if c.least != c.most && len(different) < 10 {
			t.Errorf("pause(%+v, %d, %v) has no jitter", c.pace, c.failures, c.failure)
		}
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(1000, 0)
	for i := range questionBurst {
		if wait := b.take(now); wait != 0 {
			t.Fatalf("question %d waits %s", i, wait)
		}
	}
	if wait := b.take(now); wait != questionPause {
		t.Errorf("after the burst a question waits %s, want %s", wait, questionPause)
	}
	if wait := b.take(now.Add(2 * questionPause)); wait != 0 {
		t.Errorf("two pauses later a question waits %s", wait)
	}
}
