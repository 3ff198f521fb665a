package application

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// TestWhatCanWaitGoesLast: while few of many Applications may be noted at
// once, one that has work to do is not behind them.
func TestWhatCanWaitGoesLast(t *testing.T) {
	var mu sync.Mutex
	running, most, noted := 0, 0, map[string]int{}
	release, urgent, done := make(chan struct{}), make(chan struct{}), make(chan struct{}, 100)
	l := newLanes(func(_ context.Context, a arrival) (outcome, error) {
		if a.key.Name == "urgent" {
			close(urgent)
			return outcome{}, nil
		}
		mu.Lock()
		noted[a.key.Name]++
		first := noted[a.key.Name] == 1
		if !first {
			running++
			most = max(most, running)
		}
		mu.Unlock()
		if first {
			return outcome{later: true}, nil
		}
		<-release
		mu.Lock()
		running--
		mu.Unlock()
		done <- struct{}{}
		return outcome{}, nil
	})
	l.start(t.Context())
	defer l.stop()
	const crowd = 3 * idleWorkers
	for i := range crowd {
		l.moved(types.NamespacedName{Name: fmt.Sprint("app-", i)})
	}
	l.add(types.NamespacedName{Name: "urgent"})
	<-urgent // although nobody lets the others go on
	close(release)
	for range crowd {
		<-done
	}
	mu.Lock()
	defer mu.Unlock()
	if most > idleWorkers || len(noted) != crowd {
		t.Errorf("%d at once, want at most %d; %d Applications, want %d", most, idleWorkers, len(noted), crowd)
	}
}

func TestLanesForgetApplications(t *testing.T) {
	l := newLanes(func(context.Context, arrival) (outcome, error) { return outcome{}, nil })
	key := types.NamespacedName{Name: "a"}
	l.settle(key, "one")
	if got := l.on("one"); len(got) != 1 {
		t.Errorf("lane one has %v", got)
	}
	if lane := l.unsettle(key); lane != "one" || len(l.on("one")) != 0 {
		t.Errorf("it was on %q, and lane one still has %v", lane, l.on("one"))
	}
}

// TestCrowded: a lane is crowded when Applications wait for a worker, not while
// they are worked at, nor when they wait for their time; others are not.
func TestCrowded(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{})
	l := newLanes(func(_ context.Context, a arrival) (outcome, error) {
		if a.key.Name == "patient" {
			defer close(begun)
			return outcome{again: time.Hour}, nil
		}
		begun <- struct{}{}
		<-release
		return outcome{}, nil
	})
	l.start(t.Context())
	defer l.stop()
	if l.crowded("full") {
		t.Error("a lane that there is not is crowded")
	}
	add := func(name, lane string) {
		key := types.NamespacedName{Name: name}
		l.settle(key, lane)
		l.add(key)
	}
	for i := range workersPerLane {
		add(fmt.Sprint("app-", i), "full")
	}
	for range workersPerLane {
		<-begun
	}
	if l.crowded("full") {
		t.Error("crowded although each Application has a worker")
	}
	add("one-more", "full")
	if !l.crowded("full") || l.crowded("other") {
		t.Errorf("an Application waits: full %t, other %t; want true, false", l.crowded("full"), l.crowded("other"))
	}
	close(release)
	<-begun
	if l.crowded("full") {
		t.Error("crowded although the last Application has its worker")
	}
	add("patient", "full")
	<-begun
	if l.crowded("full") {
		t.Error("an Application that waits for its time makes the lane crowded")
	}
}
