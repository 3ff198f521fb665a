package application

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

// workersPerLane bounds what happens at once on one cluster.
const workersPerLane = 8

// lanes runs work for Applications, separately for each destination. An
// Application is never handled by two workers, even while it changes lanes.
type lanes struct {
	work func(ctx context.Context, key types.NamespacedName) (again time.Duration, err error)

	mu      sync.Mutex
	ctx     context.Context
	byName  map[string]workqueue.TypedRateLimitingInterface[types.NamespacedName]
	home    map[types.NamespacedName]string
	running map[types.NamespacedName]bool
	redo    map[types.NamespacedName]bool
	wait    sync.WaitGroup
}

func newLanes(work func(context.Context, types.NamespacedName) (time.Duration, error)) *lanes {
	return &lanes{
		work: work, byName: map[string]workqueue.TypedRateLimitingInterface[types.NamespacedName]{},
		home: map[types.NamespacedName]string{}, running: map[types.NamespacedName]bool{}, redo: map[types.NamespacedName]bool{},
	}
}

// start allows lanes to run until ctx ends.
func (l *lanes) start(ctx context.Context) {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
}

// settle notes the lane of an Application.
func (l *lanes) settle(key types.NamespacedName, lane string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.home[key] = lane
}

// on lists the Applications of a lane.
func (l *lanes) on(lane string) []types.NamespacedName {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []types.NamespacedName
	for key, name := range l.home {
		if name == lane {
			out = append(out, key)
		}
	}
	return out
}

// add asks for an Application to be handled.
func (l *lanes) add(key types.NamespacedName) { l.queue(key).Add(key) }

func (l *lanes) queue(key types.NamespacedName) workqueue.TypedRateLimitingInterface[types.NamespacedName] {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.home[key]
	q := l.byName[name]
	if q == nil {
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, 30*time.Second)
		q = workqueue.NewTypedRateLimitingQueue(limiter)
		l.byName[name] = q
		for range workersPerLane {
			l.wait.Add(1)
			go l.run(q)
		}
	}
	return q
}

func (l *lanes) run(q workqueue.TypedRateLimitingInterface[types.NamespacedName]) {
	defer l.wait.Done()
	for {
		key, shutdown := q.Get()
		if shutdown {
			return
		}
		l.one(q, key)
	}
}

func (l *lanes) one(q workqueue.TypedRateLimitingInterface[types.NamespacedName], key types.NamespacedName) {
	defer q.Done(key)
	if !l.enter(key) {
		return
	}
	again, err := l.work(l.ctx, key)
	switch {
	case err != nil:
		q.AddRateLimited(key)
	case again > 0:
		q.Forget(key)
		q.AddAfter(key, again)
	default:
		q.Forget(key)
	}
	if l.leave(key) {
		l.add(key)
	}
}

// enter claims the Application; when another lane has it, that one is told to
// come back.
func (l *lanes) enter(key types.NamespacedName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return false
	}
	if l.running[key] {
		l.redo[key] = true
		return false
	}
	l.running[key] = true
	return true
}

func (l *lanes) leave(key types.NamespacedName) (again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, key)
	again = l.redo[key]
	delete(l.redo, key)
	return again
}

// stop ends all lanes and waits for their workers.
func (l *lanes) stop() {
	l.mu.Lock()
	for _, q := range l.byName {
		q.ShutDown()
	}
	l.mu.Unlock()
	l.wait.Wait()
}
