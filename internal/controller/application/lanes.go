package application

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

const (
	// workersPerLane bounds what happens at once on one cluster. Workers
	// mostly wait for answers; the writes are bounded by the connection.
	workersPerLane = 32
	// idleWorkers of them may do what can wait, and what finds none of them
	// free waits for idlePause.
	idleWorkers = 4
	idlePause   = 100 * time.Millisecond
	// canWait is the priority of work that anything else goes before.
	canWait = -100
)

// outcome says how an Application is to be handled again: after a time,
// unless that is zero, or later, when nothing else is to be done.
type outcome struct {
	again time.Duration
	later bool
}

// queue of one lane.
type queue = priorityqueue.PriorityQueue[types.NamespacedName]

// lanes runs work for Applications, separately for each destination. An
// Application is never handled by two workers, even while it changes lanes.
type lanes struct {
	work func(ctx context.Context, a arrival) (outcome, error)

	mu      sync.Mutex
	ctx     context.Context
	byName  map[string]queue
	home    map[types.NamespacedName]string
	running map[types.NamespacedName]bool
	redo    map[types.NamespacedName]bool
	idle    map[string]int
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

func newLanes(work func(context.Context, arrival) (outcome, error)) *lanes {
	return &lanes{
		work: work, byName: map[string]queue{}, home: map[types.NamespacedName]string{}, reasons: map[types.NamespacedName]bool{},
		running: map[types.NamespacedName]bool{}, redo: map[types.NamespacedName]bool{}, idle: map[string]int{},
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

// unsettle forgets the lane of an Application and names it.
func (l *lanes) unsettle(key types.NamespacedName) (lane string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane = l.home[key]
	delete(l.home, key)
	return lane
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

func (l *lanes) queue(key types.NamespacedName) queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := l.home[key]
	q := l.byName[name]
	if q == nil {
		q = priorityqueue.New(name, func(o *priorityqueue.Opts[types.NamespacedName]) {
			o.RateLimiter = workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, 30*time.Second)
		})
		l.byName[name] = q
		for range workersPerLane {
			l.wait.Add(1)
			go l.run(name, q)
		}
	}
	return q
}

// crowded says that Applications of a lane wait for a worker.
func (l *lanes) crowded(name string) bool {
	l.mu.Lock()
	q := l.byName[name]
	l.mu.Unlock()
	return q != nil && q.Len() > 0
}

func (l *lanes) run(name string, q queue) {
	defer l.wait.Done()
	for {
		key, priority, shutdown := q.GetWithPriority()
		if shutdown {
			return
		}
		l.one(name, q, key, priority < 0)
	}
}

func (l *lanes) one(name string, q queue, key types.NamespacedName, idle bool) {
	defer q.Done(key)
	a, ok, busy := l.enter(name, key, idle)
	if busy {
		q.AddWithOpts(priorityqueue.AddOpts{After: idlePause, Priority: ptr.To(canWait)}, key)
	}
	if !ok {
		return
	}
	out, err := l.work(l.ctx, a)
	if err == nil {
		q.Forget(key)
	}
	if err != nil || out.again > 0 {
		l.because(key)
	}
	switch {
	case err != nil:
		q.AddRateLimited(key)
	case out.later: // and then it says again when
		q.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(canWait)}, key)
	case out.again > 0:
		q.AddAfter(key, out.again)
	}
	if l.leave(name, key, idle) {
		l.add(key)
	}
}

// enter claims the Application; when another lane has it, that one is told to
// come back. busy says that enough workers do what can wait.
func (l *lanes) enter(name string, key types.NamespacedName, idle bool) (a arrival, ok, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil || l.ctx.Err() != nil {
		return a, false, false
	}
	if l.running[key] {
		l.redo[key] = true
		return a, false, false
	}
	if idle && l.idle[name] >= idleWorkers {
		return a, false, true
	}
	if idle {
		l.idle[name]++
	}
	l.running[key] = true
	a = arrival{key: key, moved: !l.reasons[key]}
	delete(l.reasons, key)
	return a, true, false
}

func (l *lanes) leave(name string, key types.NamespacedName, idle bool) (again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if idle {
		l.idle[name]--
	}
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
