package application

import (
	"context"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// showAfter is long enough for a sync that only waits for its turn on a cluster
// that has much to do: a write for each of those would keep it busier still.
const showAfter = 10 * time.Second

// showing writes the begin of a sync that only the journal knows into its
// Application once the sync takes longer than showAfter: people must see what
// hangs.
type showing struct {
	over chan struct{}
	done chan struct{}
	// written is what was stored, nil when nothing was; to be read when done
	// is closed.
	written *v1alpha1.Application
}

// showLater begins to wait for the moment to show a sync.
func (p *pass) showLater(ctx context.Context) {
	s := &showing{over: make(chan struct{}), done: make(chan struct{})}
	base, next, timer := p.before, p.app.DeepCopy(), p.Clock.NewTimer(showAfter)
	p.showing = s
	go func() {
		defer close(s.done)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-s.over:
			return
		case <-timer.C():
		}
		written, err := p.put(ctx, base, next)
		if err != nil {
			p.log.Debug("begin of an operation is not shown yet", "error", err.Error())
			return
		}
		s.written = written
	}()
}

// shown ends the waiting. What was shown meanwhile is what is stored now.
func (p *pass) shown() {
	s := p.showing
	if s == nil {
		return
	}
	p.showing = nil
	close(s.over)
	<-s.done
	if s.written == nil {
		return
	}
	p.mu.Lock()
	p.written[p.key] = s.written
	p.mu.Unlock()
	p.before = s.written
	p.metrics.describe(s.written, p.cluster.Server)
	p.watchers.tell(p.key)
}
