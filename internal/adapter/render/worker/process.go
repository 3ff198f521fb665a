package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// process is one child.
type process struct {
	*conn
	cmd     *exec.Cmd
	stdin   io.Closer
	last    *lastWords
	renders int
	once    sync.Once
	ended   error
}

// start runs a child and waits until it has closed itself off.
func start(ctx context.Context, command []string, memory int64) (*process, error) {
	args := append(command[1:len(command):len(command)], strconv.FormatInt(memory, 10))
	cmd := exec.Command(command[0], args...) //nolint:gosec // our own binary
	cmd.Env = []string{"TZ=UTC", "GOMAXPROCS=2", "GOTRACEBACK=none"}
	cmd.Dir = "/"
	isolate(cmd)
	p := &process{cmd: cmd, last: &lastWords{}}
	cmd.Stderr = p.last
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a render worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a render worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a render worker: %w", err)
	}
	p.stdin, p.conn = in, newConn(out, in)
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	if kind, _, err := p.receive(0); err != nil || kind != frameReady {
		p.kill()
		p.wait()
		return nil, fmt.Errorf("start a render worker: %w: %s", errors.Join(err, ctx.Err()), p.last.String())
	}
	return p, nil
}

// kill ends the child whatever it does.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// wait reaps the child.
func (p *process) wait() {
	p.once.Do(func() {
		_ = p.stdin.Close()
		p.ended = p.cmd.Wait()
	})
}

// end lets an idle child go.
func (p *process) end() {
	p.kill()
	p.wait()
}

// death says in words why a child died.
func (p *process) death(memory int64) (reason string, err error) {
	p.kill()
	p.wait()
	switch words := p.last.String(); {
	case strings.Contains(words, "out of memory"), strings.Contains(words, "cannot allocate memory"), strings.Contains(words, "failed to allocate"), strings.Contains(words, "pthread_create"):
		return "memory", fmt.Errorf("rendering needed more than %d MiB of memory: make the source smaller, or raise --render-memory", memory>>20)
	case strings.Contains(words, "stack overflow"), strings.Contains(words, "stack exceeds"):
		return "recursion", errors.New("rendering recursed without end: look for templates or imports that include themselves")
	case words == "":
		return "killed", fmt.Errorf("the renderer was ended from outside (%v): it is tried again", p.ended)
	default:
		return "crash", fmt.Errorf("rendering failed unexpectedly: %s", words)
	}
}

// lastWords keeps the line in which a Go program says why it dies.
type lastWords struct {
	mu   sync.Mutex
	rest []byte
	line string
}

const maxWords = 4 << 10

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		at := bytes.IndexByte(l.rest, '\n')
		if at < 0 {
			break
		}
		l.take(l.rest[:at])
		l.rest = l.rest[at+1:]
	}
	if len(l.rest) > maxWords {
		l.rest = l.rest[len(l.rest)-maxWords:]
	}
	return len(p), nil
}

func (l *lastWords) take(line []byte) {
	text := string(bytes.TrimSpace(line))
	for _, mark := range []string{"fatal error: ", "panic: ", "runtime: ", "sluice: "} {
		if l.line == "" && strings.HasPrefix(text, mark) {
			l.line = text[:min(len(text), maxWords)]
		}
	}
	if strings.Contains(text, "stack overflow") || strings.Contains(text, "out of memory") || strings.Contains(text, "failed to allocate") {
		l.line = text[:min(len(text), maxWords)]
	}
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line
}
