package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// git is how the program is started: with an environment that holds no secret
// and no setting of the machine.
type git struct {
	vars []string
	hide func(string) string // takes secrets out of what git says
	// memory bounds each process of a run, in bytes; not the reader of objects,
	// which streams.
	memory int64
}

// newGit uses the configuration in a file of our own and nothing else.
func newGit(o Options, home, config string) git {
	vars := append([]string{}, o.Environment...)
	vars = append(vars,
		"PATH="+os.Getenv("PATH"), "HOME="+home, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+config, "GIT_ATTR_NOSYSTEM=1", "GIT_OPTIONAL_LOCKS=0",
		"GIT_CEILING_DIRECTORIES="+o.Dir) // git looks for a repository in parent folders, too: not above ours
	return git{vars: vars, hide: scrub, memory: o.MaxGitMemory}
}

// with adds variables.
func (g git) with(vars ...string) git {
	g.vars = append(append([]string{}, g.vars...), vars...)
	return g
}

// command is one run of git. Arguments hold no secret; user values follow "--".
type command struct {
	program string // default git
	args    []string
	dir     string
	stdin   string
	limit   time.Duration // of the whole run
	stall   time.Duration // of silence on stderr; zero is no limit
	// maxOutput bounds stdout (zero is 256 MiB), maxFile every file written.
	maxOutput, maxFile int64
	// maxObjects bounds what a fetch brings, as git itself counts it; zero is
	// no limit.
	maxObjects int64
}

// prepare makes the process; it dies with ctx, and with this process.
func (g git) prepare(ctx context.Context, dir string, args ...string) *exec.Cmd {
	return g.program(ctx, "git", dir, args)
}

func (g git) program(ctx context.Context, name, dir string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // git or ssh with fixed verbs; user values follow "--"
	cmd.Dir, cmd.Env = dir, g.vars
	cmd.WaitDelay = 2 * time.Second
	bindToParent(cmd)
	return cmd
}

// run executes git and returns its output; errors are *gitError and carry
// git's own words without secrets.
func (g git) run(ctx context.Context, c command) ([]byte, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("%w (%s)", errTimeout, c.limit))
	defer cancel()
	guarded, give := context.WithCancelCause(bounded)
	defer give(nil)
	verb := verbOf(c.args)
	if c.program == "" {
		c.program = "git"
	} else {
		verb = c.program
	}
	cmd := g.program(guarded, c.program, c.dir, c.args)
	if c.stdin != "" {
		cmd.Stdin = strings.NewReader(c.stdin)
	}
	if c.maxOutput == 0 {
		c.maxOutput = 256 << 20
	}
	out := &capped{limit: c.maxOutput, full: func() { give(errOutput) }}
	problem := &tail{limit: 8 << 10}
	if c.maxObjects > 0 {
		problem.objects = func(n int64) {
			if n > c.maxObjects {
				give(errObjects)
			}
		}
	}
	cmd.Stdout, cmd.Stderr = out, problem
	err := cmd.Start()
	if err == nil {
		limitProcess(cmd.Process.Pid, c.maxFile, g.memory)
		stop := watchSilence(guarded, problem, c.stall, give)
		err = cmd.Wait()
		stop()
	}
	if cause := context.Cause(guarded); err != nil && cause != nil {
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("git %s: %w", verb, ctx.Err())
		case errors.Is(cause, errOutput):
			return nil, &gitError{verb: verb, said: fmt.Sprintf("the answer is larger than %d bytes", c.maxOutput), kind: errOutput}
		case errors.Is(cause, errObjects):
			return nil, &gitError{verb: verb, said: fmt.Sprintf("the pack has more than %d objects, the most that one fetch may bring: split the repository, or use partialClone", c.maxObjects), kind: errFull}
		case errors.Is(cause, errTimeout):
			return nil, &gitError{verb: verb, said: cause.Error(), kind: errTimeout}
		}
	}
	if err != nil {
		return nil, g.explain(verb, problem.text(), c.maxFile, err)
	}
	return out.buffer.Bytes(), nil
}

// verbOf is the command among the arguments.
func verbOf(args []string) string {
	for i := 0; i < len(args); i++ {
		if args[i] == "-c" {
			i++
			continue
		}
		return args[i]
	}
	return ""
}

// watchSilence gives up on a git that reports no progress for a while.
func watchSilence(ctx context.Context, from *tail, limit time.Duration, give func(error)) (stop func()) {
	if limit <= 0 {
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(max(limit/4, time.Millisecond))
		defer tick.Stop()
		heard, silent := int64(-1), 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-ended:
				return
			case <-tick.C:
			}
			if now := from.heard.Load(); now != heard {
				heard, silent = now, 0
				continue
			}
			if silent++; silent >= 4 {
				give(fmt.Errorf("%w (silent for %s)", errTimeout, limit))
				return
			}
		}
	}()
	return func() { close(ended) }
}

// capped keeps output up to a limit.
type capped struct {
	buffer bytes.Buffer // not embedded: its ReadFrom would pass the limit by
	limit  int64
	full   func()
}

func (b *capped) Write(p []byte) (int, error) {
	if int64(b.buffer.Len()+len(p)) > b.limit {
		b.full()
		return 0, errOutput
	}
	return b.buffer.Write(p)
}

// tail keeps the last bytes written to it and counts all.
type tail struct {
	limit int
	kept  []byte
	heard atomic.Int64
	// objects is told how many objects git announces.
	objects func(n int64)
}

// announced is how git says how many objects a pack has.
var announced = regexp.MustCompile(`(?:Receiving|Unpacking) objects:\s+\d+% \(\d+/(\d+)\)`)

// errObjects is the cause of a run that ends because a pack has too many
// objects.
var errObjects = errors.New("too many objects")

func (t *tail) Write(p []byte) (int, error) {
	t.heard.Add(int64(len(p)))
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.limit {
		t.kept = append([]byte{}, t.kept[len(t.kept)-t.limit:]...)
	}
	if t.objects != nil {
		if all := announced.FindAllSubmatch(t.kept, -1); len(all) > 0 {
			if n, err := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64); err == nil {
				t.objects(n)
			}
		}
	}
	return len(p), nil
}

func (t *tail) text() string { return string(t.kept[max(0, len(t.kept)-t.limit):]) }
