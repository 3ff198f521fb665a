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
	work func(ctx context.Context, a arrival) (again time.Duration, err error)

	mu      sync.Mutex
	ctx     context.Context
	byName  map[string]workqueue.TypedRateLimitingInterface[types.NamespacedName]
	home    map[types.NamespacedName]string
	running map[types.NamespacedName]bool
	redo    map[types.NamespacedName]bool
	// reasons are Applications for which something else than a new revision
	// is to be looked at, now or when they come back.
	reasons map[types.NamespacedName]bool
	wait    sync.WaitGroup
}

// arrival is an Application that is to be handled.
type arrival struct {
	key types.NamespacedName
	// moved says that a new revision of a source is the only reason.
	moved bool
}

func newLanes(work func(context.Context, arrival) (time.Duration, error)) *lanes {
	return &lanes{
		reasons: map[types.NamespacedName]bool{},
		work:    work, byName: map[string]workqueue.TypedRateLimitingInterface[types.NamespacedName]{},
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
func (l *lanes) add(key types.NamespacedName) {
	l.because(key)
	l.queue(key).Add(key)
}

// moved asks for an Application to be handled because a source resolves
// differently than before.
func (l *lanes) moved(key types.NamespacedName) { l.queue(key).Add(key) }

// because notes that there is more to look at than a new revision.
func (l *lanes) because(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reasons[key] = true
}

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
	a, ok := l.enter(key)
	if !ok {
		return
	}
	again, err := l.work(l.ctx, a)
	switch {
	case err != nil:
		l.because(key)
		q.AddRateLimited(key)
	case again > 0:
		l.because(key)
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
func (l *lanes) enter(key types.NamespacedName) (a arrival, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return a, false
	}
	if l.running[key] {
		l.redo[key] = true
		return a, false
	}
	l.running[key] = true
	a = arrival{key: key, moved: !l.reasons[key]}
	delete(l.reasons, key)
	return a, true
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
