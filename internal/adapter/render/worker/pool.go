package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/sluice-cd/sluice/internal/adapter/render"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Options of a Pool.
type Options struct {
	// Command starts a child; the memory limit is appended. The default is
	// this program with the hidden command.
	Command []string
	// Workers is the largest number of children (default: one per core).
	Workers int
	// Memory is what one child may use (default 512 MiB), Budget what all may
	// together (default Workers times Memory); at least one always works.
	Memory, Budget int64
	// MaxRenders is after how many renders a child is replaced (default 2000).
	MaxRenders int
	// Timeout bounds one render (default 60 s).
	Timeout    time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// minMemory is what a child needs to render anything.
const minMemory = 64 << 20

func (o *Options) defaults() error {
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("render workers: %w", err)
		}
		o.Command = []string{self, Command}
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Memory == 0 {
		o.Memory = 512 << 20
	}
	if o.Memory < minMemory {
		return fmt.Errorf("render workers: %d bytes of memory are not enough: give at least %d MiB", o.Memory, minMemory>>20)
	}
	if o.Budget > 0 {
		o.Workers = int(max(1, min(int64(o.Workers), o.Budget/o.Memory)))
	}
	if o.MaxRenders == 0 {
		o.MaxRenders = 2000
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	return nil
}

// Pool renders in children. It is safe for concurrent use.
type Pool struct {
	options Options
	slots   *semaphore.Weighted
	plain   *semaphore.Weighted
	metrics metrics

	mu     sync.Mutex
	closed bool
	idle   []*process
	busy   map[*process]bool
}

type metrics struct {
	renders *prometheus.CounterVec
	deaths  *prometheus.CounterVec
	workers prometheus.Gauge
	waiting prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_repo_render_total", Help: "Renders by place: plain ones in this process, others in a worker.",
		}, []string{"place"}),
		deaths: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_repo_render_worker_deaths_total", Help: "Render workers that died, by reason: deadline, memory, recursion, crash or killed.",
		}, []string{"reason"}),
		workers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "argocd_repo_render_workers", Help: "Render workers that run."}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "argocd_repo_render_waiting", Help: "Renders that wait for a worker.",
		}),
	}
	r.MustRegister(m.renders, m.deaths, m.workers, m.waiting)
	return m
}

// NewPool makes a Pool; children start when they are needed.
func NewPool(o Options) (*Pool, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	return &Pool{
		options: o, slots: semaphore.NewWeighted(int64(o.Workers)), plain: semaphore.NewWeighted(int64(o.Workers)),
		metrics: newMetrics(o.Registerer), busy: map[*process]bool{},
	}, nil
}

// Close ends all children; renders under way fail.
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.closed, p.idle = true, nil
	for one := range p.busy {
		one.kill()
	}
	p.mu.Unlock()
	for _, one := range idle {
		p.drop(one)
	}
}

// Rendered is a result with its objects as a JSON list.
type Rendered struct {
	Type    string
	Used    render.Inputs
	Objects []byte
}

// Render renders one source: plain YAML here, everything that runs a tool in
// a child. Once it has begun it ends at the latest with the timeout of the pool
// or with ctx, and then the child is dead; before, it waits for its turn and its
// child as long as ctx lets it. The type and what was used are set for a failure, too.
func (p *Pool) Render(ctx context.Context, r render.Request) (Rendered, error) {
	out, err := p.inParent(ctx, r)
	if !errors.Is(err, render.ErrNeedsWorker) {
		return out, err
	}
	p.metrics.renders.WithLabelValues("worker").Inc()
	p.metrics.waiting.Inc()
	err = p.slots.Acquire(ctx, 1)
	p.metrics.waiting.Dec()
	if err != nil {
		return Rendered{}, fmt.Errorf("%s: waiting for a free renderer: %w", where(r), err)
	}
	defer p.slots.Release(1)
	one, err := p.take(ctx)
	if err != nil {
		return Rendered{}, fmt.Errorf("%s: %w", where(r), err)
	}
	ctx, cancel := p.timed(ctx) // what a child takes to start is no fault of the source
	defer cancel()
	return p.inChild(ctx, one, r)
}

// startTimeout bounds the start of a child.
const startTimeout = time.Minute

// timed bounds one render.
func (p *Pool) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, p.options.Timeout, errDeadline{p.options.Timeout})
}

// errDeadline is the cause of a context that ends because a render was slow.
type errDeadline struct{ after time.Duration }

func (e errDeadline) Error() string {
	return fmt.Sprintf("rendering did not end within %s: make the source simpler, or raise --render-timeout", e.after)
}

func (errDeadline) Unwrap() error { return context.DeadlineExceeded }

func where(r render.Request) string {
	if r.Source.Path == "" {
		return "."
	}
	return r.Source.Path
}

func (p *Pool) inParent(ctx context.Context, r render.Request) (Rendered, error) {
	if r.Source.Kustomize != nil || r.Source.Helm != nil || r.Source.Chart != "" {
		return Rendered{}, render.ErrNeedsWorker
	}
	if err := p.plain.Acquire(ctx, 1); err != nil {
		return Rendered{}, fmt.Errorf("%s: waiting for a free renderer: %w", where(r), err)
	}
	defer p.plain.Release(1)
	ctx, cancel := p.timed(ctx)
	defer cancel()
	r.PlainOnly = true
	result, err := render.Render(ctx, r)
	out := Rendered{Type: result.Type, Used: result.Used}
	if err != nil {
		return out, err
	}
	p.metrics.renders.WithLabelValues("plain").Inc()
	out.Objects, err = Encode(result.Objects)
	return out, err
}

// take gives an idle child or a new one.
func (p *Pool) take(ctx context.Context) (*process, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errors.New("the renderers are closed")
	}
	if n := len(p.idle); n > 0 {
		one := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.busy[one] = true
		p.mu.Unlock()
		return one, nil
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	one, err := start(ctx, p.options.Command, p.options.Memory)
	if err != nil {
		return nil, err
	}
	p.metrics.workers.Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[one] = true
	if p.closed {
		one.kill()
	}
	return one, nil
}

func (p *Pool) drop(one *process) {
	p.mu.Lock()
	delete(p.busy, one)
	p.mu.Unlock()
	one.end()
	p.metrics.workers.Dec()
}

func (p *Pool) giveBack(one *process) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.drop(one)
		return
	}
	delete(p.busy, one)
	p.idle = append(p.idle, one)
	p.mu.Unlock()
}

// ended says that an error is what a pipe to a process gives that is no more:
// which of them depends on whether one reads from it or writes to it.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed)
}

func (p *Pool) inChild(ctx context.Context, one *process, r render.Request) (Rendered, error) {
	stop := context.AfterFunc(ctx, one.kill)
	o, objects, err := one.render(ctx, r)
	if !stop() && ctx.Err() != nil && err == nil {
		err = ctx.Err() // killed just after it had answered
	}
	if err != nil {
		reason, death := one.death(p.options.Memory)
		if ctx.Err() != nil {
			reason, death = "deadline", context.Cause(ctx)
		}
		p.drop(one)
		p.metrics.deaths.WithLabelValues(reason).Inc()
		p.options.Log.Warn("render worker died", "reason", reason, "path", where(r), "project", r.App.Project, "application", r.App.Instance)
		if reason == "killed" && !ended(err) {
			death = err
		}
		return Rendered{}, fmt.Errorf("%s: %w", where(r), death)
	}
	out := Rendered{Type: o.Type, Used: o.Used, Objects: objects}
	if one.renders++; o.Spent || one.renders >= p.options.MaxRenders {
		p.drop(one)
	} else {
		p.giveBack(one)
	}
	if o.Message != "" {
		return out, errors.New(o.Message)
	}
	return out, nil
}

// render sends a request and answers questions until there is an outcome.
func (p *process) render(ctx context.Context, r render.Request) (o outcome, objects []byte, err error) {
	a := &answers{trees: []tree.Tree{r.Tree}, remote: r.Remote}
	h := header{
		App: r.App, Source: r.Source, Revision: r.Revision, KubeVersion: r.KubeVersion, APIVersions: r.APIVersions, Settings: r.Settings,
		Trees: []treeName{nameOf(r.Tree)}, Remote: r.Remote != nil,
	}
	for _, name := range slices.Sorted(maps.Keys(r.Refs)) {
		a.trees = append(a.trees, r.Refs[name])
		h.Refs, h.Trees = append(h.Refs, name), append(h.Trees, nameOf(r.Refs[name]))
	}
	head, err := json.Marshal(h)
	if err != nil {
		return o, nil, err
	}
	if ahead := readAhead(r.Tree, where(r)); len(ahead) > 0 {
		if err := p.send(frameAhead, ahead); err != nil {
			return o, nil, err
		}
	}
	if err := p.send(frameRequest, head); err != nil {
		return o, nil, err
	}
	for {
		kind, body, err := p.receive(maxAnswer)
		if err != nil {
			return o, nil, err
		}
		switch kind {
		case frameQuestion:
			if len(body) > maxQuestion {
				return o, nil, errFrame
			}
			if err := p.send(frameAnswer, a.answer(ctx, body)); err != nil {
				return o, nil, err
			}
		case frameOutcome:
			if err := json.Unmarshal(body, &o); err != nil {
				return o, nil, err
			}
			if err := a.replay(o.Reused); err != nil {
				return o, nil, err
			}
			if o.Message != "" {
				return o, nil, nil
			}
		case frameObjects:
			return o, body, nil
		default:
			return o, nil, errFrame
		}
	}
}
