package heartbeat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

// TestChangesArrive: what one side is told, the other hears, and it ends when
// the writer has nothing more to say.
func TestChangesArrive(t *testing.T) {
	changes := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Write(w, r, clock.RealClock{}, changes) }))
	defer s.Close()
	answer, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	go func() {
		changes <- struct{}{}
		changes <- struct{}{}
		close(changes)
	}()
	heard := 0
	lived, err := Read(t.Context(), answer.Body, clock.RealClock{}, false, func() { heard++ })
	if heard != 2 || !lived || err != nil {
		t.Errorf("heard %d changes, lived %v, %v", heard, lived, err)
	}
}

func TestAGapMayHideAChange(t *testing.T) {
	for again, want := range map[bool]int{false: 1, true: 2} {
		heard := 0
		if _, err := Read(t.Context(), strings.NewReader("watching\nalive\nchanged\n"), clock.RealClock{}, again, func() { heard++ }); err != nil || heard != want {
			t.Errorf("opened again %v: heard %d, want %d, %v", again, heard, want, err)
		}
	}
}

// TestASilentStreamIsGivenUp: three beats without a sign of life.
func TestASilentStreamIsGivenUp(t *testing.T) {
	fake := testclock.NewFakeClock(time.Unix(0, 0))
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	ended := make(chan error)
	go func() {
		_, err := Read(t.Context(), r, fake, false, func() {})
		ended <- err
	}()
	for !fake.HasWaiters() {
		runtime.Gosched()
	}
	fake.Step(3 * Beat)
	if err := <-ended; err == nil || err.Error() != "no sign of life" {
		t.Errorf("ended with %v", err)
	}
}

// TestPausesGrowUntilThereIsLife counts the pauses of a stream that fails
// three times, lives once and fails again.
func TestPausesGrowUntilThereIsLife(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fake := testclock.NewFakeClock(time.Unix(0, 0))
	var pauses []time.Duration
	var again []bool
	lives := []bool{false, false, false, true, false, false}
	l := Loop{
		Clock: fake, Longest: time.Second,
		Open: func(_ context.Context, a bool) (bool, error) {
			again = append(again, a)
			return lives[len(again)-1], errors.New("cut")
		},
		Interrupted: func(_ error, pause time.Duration) {
			if pauses = append(pauses, pause); len(pauses) == len(lives) {
				cancel()
				return
			}
			go func() {
				for !fake.HasWaiters() {
					runtime.Gosched()
				}
				fake.Step(pause)
			}()
		},
	}
	l.Keep(ctx)
	ms := time.Millisecond
	if want := []time.Duration{500 * ms, 1000 * ms, 1000 * ms, 500 * ms, 1000 * ms, 1000 * ms}; !reflect.DeepEqual(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	if want := []bool{false, true, true, true, true, true}; !reflect.DeepEqual(again, want) {
		t.Errorf("opened again %v, want %v", again, want)
	}
}
