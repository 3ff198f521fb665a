// Package heartbeat is a stream over HTTP between two processes of Sluice that
// says when something changed, and that its writer is alive. Both sides are
// here: [Write] and [Read], and [Keep], which opens a stream again and again.
package heartbeat

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"k8s.io/utils/clock"
)

// Beat is the pause between two signs of life; three without one end a stream.
const Beat = 20 * time.Second

// Lines of a stream.
const (
	watching = "watching"
	changed  = "changed"
	alive    = "alive"
)

// firstPause is the one before a stream is opened again.
const firstPause = 500 * time.Millisecond

// Write writes a line for every change until the caller goes or changes is
// closed: then the caller opens the stream again, and looks.
func Write(w http.ResponseWriter, r *http.Request, c clock.Clock, changes <-chan struct{}) {
	w.WriteHeader(http.StatusOK)
	timer := c.NewTimer(Beat)
	defer timer.Stop()
	for line := watching; ; {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case _, open := <-changes:
			if !open {
				return
			}
			line = changed
		case <-timer.C():
			line = alive
			timer.Reset(Beat)
		}
	}
}

// Read calls notify for every change until the stream ends, and at its begin
// when it is opened again: after a gap anything may have changed. lived says
// that there was a sign of life.
func Read(ctx context.Context, stream io.Reader, c clock.Clock, again bool, notify func()) (lived bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := c.NewTimer(3 * Beat)
	defer timer.Stop()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stream); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return lived, ctx.Err()
		case <-timer.C():
			return lived, errors.New("no sign of life")
		case line, ok := <-lines:
			if !ok {
				return lived, nil
			}
			if line == changed || line == watching && again {
				notify()
			}
			lived = true
			timer.Reset(3 * Beat)
		}
	}
}

// Loop is a stream that is opened again whenever it ends.
type Loop struct {
	Clock clock.Clock
	// Longest bounds the pause before the stream is opened again, which grows
	// while there is no sign of life.
	Longest time.Duration
	// Open reads the stream to its end; again says that it is not the first.
	Open func(ctx context.Context, again bool) (lived bool, err error)
	// Interrupted hears of each end, and of the pause that follows.
	Interrupted func(err error, pause time.Duration)
}

// Keep keeps the stream open until ctx ends.
func (l Loop) Keep(ctx context.Context) {
	pause := firstPause
	for again := false; ; again = true {
		lived, err := l.Open(ctx, again)
		if ctx.Err() != nil {
			return
		}
		if lived {
			pause = firstPause
		}
		l.Interrupted(errors.Join(err, io.EOF), pause)
		timer := l.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		pause = min(2*pause, l.Longest)
	}
}
