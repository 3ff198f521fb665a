package lua

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/utils/clock"
)

// WorkerCommand is the subcommand that calls Serve.
const WorkerCommand = "lua-worker"

const (
	// children is how many scripts of users run at once.
	children = 2
	// grace is how long after the end of its time a child may still answer.
	grace = 500 * time.Millisecond
	// startTime is the longest start of a child.
	startTime = 15 * time.Second
	// maxFrame bounds one message between parent and child, in bytes.
	maxFrame = 16 << 20
	// strikes is how often in a row a script may exceed its limits before it
	// is left out for pause.
	strikes = 3
	pause   = time.Minute
)

// Pool runs scripts of users, and other work that must be bounded, in children
// of this program. A child that
// exceeds its memory or its time ends, and the next run starts another.
type Pool struct {
	o     PoolOptions
	idle  chan *child
	mu    sync.Mutex
	bad   map[string]offence
	ended bool
}

// PoolOptions of a Pool.
type PoolOptions struct {
	// Command starts a child that calls Serve; nil means this program with
	// WorkerCommand.
	Command []string
	Clock   clock.Clock
	Log     *slog.Logger
}

// offence counts how often in a row a script was stopped.
type offence struct {
	count int
	limit string
	until time.Time
}

var _ Runner = (*Pool)(nil)

// NewPool makes a Pool; children start when they are needed.
func NewPool(o PoolOptions) (*Pool, error) {
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program to start workers for scripts: %w", err)
		}
		o.Command = []string{self, WorkerCommand}
	}
	p := &Pool{o: o, idle: make(chan *child, children), bad: map[string]offence{}}
	for range children {
		p.idle <- nil // not started yet
	}
	return p, nil
}

// Close ends the children. Runs that are under way end first.
func (p *Pool) Close() {
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if ended {
		return
	}
	for range children {
		if c := <-p.idle; c != nil {
			c.end()
		}
	}
	close(p.idle)
}

// Job is one piece of work for a child.
type Job struct {
	// Name says in errors what it is; Source is what is left out for a while
	// when it exceeds its limits too often, nothing when it is empty.
	Name, Source string
	// Kind finds the Handler that does the work, Body is what it is given.
	Kind string
	Body []byte
	// Limit is how long the work may take.
	Limit time.Duration
}

// kindLua is the kind of what Run asks for.
const kindLua = "lua"

// Run runs a script in a child.
func (p *Pool) Run(ctx context.Context, t Task) (any, error) {
	if t.Now.IsZero() {
		t.Now = p.o.Clock.Now()
	}
	body, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("%s: object is not JSON: %w", t.Name, err)
	}
	raw, err := p.Call(ctx, Job{Name: t.Name, Source: t.Source, Kind: kindLua, Body: body, Limit: runTime})
	if err != nil {
		return nil, err
	}
	var out any
	if err := utiljson.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("%s: answer of the worker: %w", t.Name, err)
	}
	return out, nil
}

// Call has a child do a piece of work and gives the JSON that its Handler
// returned. A LimitError says that it was stopped.
func (p *Pool) Call(ctx context.Context, r Job) (json.RawMessage, error) {
	if err := p.held(r); err != nil {
		return nil, err
	}
	request := append([]byte(r.Kind+"\n"), r.Body...)
	if len(request) > maxFrame {
		return nil, fmt.Errorf("%s: the object and the script have %d bytes, at most %d", r.Name, len(request), maxFrame)
	}
	var c *child
	var open bool
	select {
	case c, open = <-p.idle:
		if !open {
			return nil, fmt.Errorf("%s: not run: shutting down", r.Name)
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no worker was free: %w", r.Name, ctx.Err())
	}
	c, out, err := p.exchange(ctx, c, r, request)
	p.idle <- c
	p.note(r, err)
	return out, err
}

// exchange sends one request and gives back the child, nil when it ended.
func (p *Pool) exchange(ctx context.Context, c *child, r Job, request []byte) (*child, json.RawMessage, error) {
	reused := c != nil
	if !reused {
		var err error
		if c, err = start(ctx, p.o.Command); err != nil {
			return nil, nil, fmt.Errorf("%s: start a worker: %w", r.Name, err)
		}
	}
	deadline, cancel := context.WithTimeout(ctx, r.Limit+grace)
	defer cancel()
	stop := context.AfterFunc(deadline, c.kill)
	raw, err := c.ask(request)
	if !stop() || err != nil {
		reason := c.end()
		switch {
		case err == nil: // answered and was killed at the same moment
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("%s: %w", r.Name, ctx.Err())
		case deadline.Err() != nil:
			return nil, nil, &LimitError{Name: r.Name, Limit: fmt.Sprintf("ran longer than %s", r.Limit)}
		case reused: // it may have ended before it was asked
			return p.exchange(ctx, nil, r, request)
		default:
			p.o.Log.Warn("a worker for scripts ended", "script", r.Name, "reason", reason)
			return nil, nil, &LimitError{Name: r.Name, Limit: reason}
		}
		c = nil
	}
	out, err := reply(r.Name, raw)
	return c, out, err
}

// response is what a child answers.
type response struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
	// Limit is set when the script was stopped.
	Limit string `json:"limit,omitempty"`
}

func reply(name string, raw []byte) (json.RawMessage, error) {
	var r response
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%s: answer of the worker: %w", name, err)
	}
	switch {
	case r.Limit != "":
		return nil, &LimitError{Name: name, Limit: r.Limit}
	case r.Error != "":
		return nil, errors.New(r.Error)
	}
	return r.Value, nil
}

// held refuses a script that was stopped too often, in the same words, so that
// statuses do not change meanwhile.
func (p *Pool) held(t Job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.bad[t.Source]; o.count >= strikes && p.o.Clock.Now().Before(o.until) {
		return &LimitError{Name: t.Name, Limit: o.limit, Held: true}
	}
	return nil
}

func (p *Pool) note(t Job, err error) {
	var limit *LimitError
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case t.Source == "":
	case err == nil:
		delete(p.bad, t.Source)
	case errors.As(err, &limit):
		if len(p.bad) >= maxCompiled {
			clear(p.bad)
		}
		o := offence{p.bad[t.Source].count + 1, limit.Limit, p.o.Clock.Now().Add(pause)}
		p.bad[t.Source] = o
		if o.count == strikes {
			p.o.Log.Warn("a script is left out for a while", "script", t.Name, "reason", o.limit, "until", o.until)
		}
	}
}

// child is one running worker.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.Reader
	words *tail
}

// start runs a worker: no environment, so no credentials, and nothing but
// two pipes. It returns when the worker is ready, so that a slow start does not
// count as time of a script.
func start(ctx context.Context, command []string) (*child, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir = []string{"GOTRACEBACK=none"}, "/"
	bind(cmd)
	c := &child{cmd: cmd, words: &tail{}}
	cmd.Stderr = c.words
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	stop := context.AfterFunc(bounded, c.kill)
	if _, err := readFrame(c.out); err != nil || !stop() {
		if bounded.Err() != nil {
			_ = c.end()
			return nil, fmt.Errorf("it was not ready: %w", bounded.Err())
		}
		return nil, fmt.Errorf("it %s: %s", c.end(), short(c.words.String()))
	}
	return c, nil
}

func (c *child) ask(request []byte) ([]byte, error) {
	if err := writeFrame(c.in, request); err != nil {
		return nil, err
	}
	return readFrame(c.out)
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end makes the child end and says in words why it did.
func (c *child) end() string {
	_ = c.in.Close()
	c.kill()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	switch words := c.words.String(); {
	case errors.As(err, &exit) && exit.ExitCode() == exitMemory, strings.Contains(words, "out of memory"), strings.Contains(words, "cannot allocate memory"):
		return fmt.Sprintf("used more than %d MiB of memory", maxMemory>>20)
	case strings.Contains(words, "stack exceeds"):
		return "needed too deep a stack"
	case err != nil:
		return "made its worker end: " + err.Error()
	}
	return "ended"
}

// tail keeps the first bytes of what a child says before it dies.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps up to maxMessage bytes.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := maxMessage - len(t.text); room > 0 {
		t.text = append(t.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

func writeFrame(w io.Writer, payload []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(payload)), uint32(len(payload)))
	_, err := w.Write(append(frame, payload...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a message of %d bytes, at most %d", n, maxFrame)
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(r, payload)
	return payload, err
}
