package manifest

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// watches asks again for what is not Git: ranges of charts, tags of OCI. Those
// that mean the same share one loop.
type watches struct {
	mu    sync.Mutex
	loops map[string]*loop
	wait  sync.WaitGroup
}

type loop struct {
	cancel   context.CancelFunc
	next     int
	notified map[int]func()
}

// watchOther calls notify when a source that is not Git resolves differently
// than before.
func (s *Service) watchOther(project string, src v1alpha1.ApplicationSource, notify func()) (cancel func()) {
	key := project + "\x00" + src.RepoURL + "\x00" + src.Chart + "\x00" + src.TargetRevision
	w := &s.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loops == nil {
		w.loops = map[string]*loop{}
	}
	l := w.loops[key]
	if l == nil {
		ctx, stop := context.WithCancel(s.ctx)
		l = &loop{cancel: stop, notified: map[int]func(){}}
		w.loops[key] = l
		w.wait.Go(func() { s.poll(ctx, project, src, l) })
	}
	l.next++
	id := l.next
	l.notified[id] = notify
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(l.notified, id)
		if len(l.notified) == 0 && w.loops[key] == l {
			l.cancel()
			delete(w.loops, key)
		}
	})
}

func (s *Service) poll(ctx context.Context, project string, src v1alpha1.ApplicationSource, l *loop) {
	last, _ := s.Resolve(ctx, project, src, false) // an error is an answer like any other
	timer := s.options.Clock.NewTimer(s.options.PollInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		now, err := s.Resolve(ctx, project, src, true)
		if err == nil && now != last {
			last = now
			s.watches.mu.Lock()
			for _, notify := range l.notified {
				go notify()
			}
			s.watches.mu.Unlock()
		}
		timer.Reset(s.options.PollInterval)
	}
}

// defaultPoll is the pause between two questions to a registry.
const defaultPoll = 3 * time.Minute
