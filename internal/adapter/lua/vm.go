package lua

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// Limits of one run. Memory is bounded by the process (see Pool).
const (
	// runTime is the longest run (spec/diff-health.md §10).
	runTime = time.Second
	// maxInstructions is about what a machine does in that time.
	maxInstructions = 10_000_000
	// maxCalls is the depth of calls, maxRegisters the size of the data stack.
	maxCalls, maxRegisters = 200, 64 << 10
	// maxCompiled bounds the cache of compiled scripts.
	maxCompiled = 512
	// maxMessage bounds the text of an error, in bytes.
	maxMessage = 1024
)

// chunk names the text of a script in errors: chunk:line.
const chunk = "script"

// Task is one run of a script.
type Task struct {
	// Name says in errors which script it is.
	Name string `json:"name"`
	// Prelude is a script that defines functions for Source; shipped scripts only.
	Prelude string `json:"prelude,omitempty"`
	Source  string `json:"source"`
	// OpenLibs adds the libraries string and math.
	OpenLibs bool `json:"openLibs,omitempty"`
	// Object becomes obj, Params actionParams.
	Object map[string]any    `json:"object"`
	Params map[string]string `json:"params,omitempty"`
	// Action becomes actionName, for shipped actions.
	Action string `json:"action,omitempty"`
	// Now is what os.time and os.date start from.
	Now time.Time `json:"now"`
}

// Runner runs scripts. The answer is nil, a map, or a list when the table the
// script returned is one; a table without entries is an empty map.
type Runner interface {
	Run(ctx context.Context, t Task) (any, error)
}

// LimitError says that a script was stopped.
type LimitError struct {
	Name, Limit string
	// Held says that the script was not run, for it was stopped too often.
	Held bool
}

// Error names the script, the limit and the remedy.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s was stopped: it %s: make it do less", e.Name, e.Limit)
}

// VM runs scripts in this process, which bounds time but not memory.
type VM struct {
	mu       sync.Mutex
	compiled map[string]*lua.FunctionProto
}

// NewVM makes a VM; it may be used by many goroutines.
func NewVM() *VM { return &VM{compiled: map[string]*lua.FunctionProto{}} }

var _ Runner = (*VM)(nil)

// meter counts instructions: the machine asks for Done before each.
type meter struct {
	context.Context
	left int
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done is closed when the instructions are used up, or with the context.
func (m *meter) Done() <-chan struct{} {
	if m.left--; m.left < 0 {
		return closed
	}
	return m.Context.Done()
}

// Err says why Done is closed.
func (m *meter) Err() error {
	if m.left < 0 {
		return context.DeadlineExceeded
	}
	return m.Context.Err()
}

// Run runs a script in a fresh state; no panic leaves it.
func (v *VM) Run(ctx context.Context, t Task) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("%s failed unexpectedly: %s", t.Name, short(fmt.Sprint(p)))
		}
	}()
	var programs []*lua.FunctionProto
	for _, source := range []string{t.Prelude, t.Source} {
		if source == "" {
			continue
		}
		p, err := v.compile(t.Name, source)
		if err != nil {
			return nil, err
		}
		programs = append(programs, p)
	}
	bounded, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	m := &meter{Context: bounded, left: maxInstructions}
	l := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxCalls, MinimizeStackMemory: true,
		RegistrySize: 512, RegistryMaxSize: maxRegisters, RegistryGrowStep: 512,
	})
	defer l.Close()
	l.SetContext(m)
	open(l, t)
	for i, p := range programs {
		results := i - len(programs) + 2 // the last program answers
		if err := l.CallByParam(lua.P{Fn: l.NewFunctionFromProto(p), NRet: max(0, results), Protect: true}); err != nil {
			return nil, v.explain(ctx, t, m, err)
		}
	}
	return answer(t, l.Get(-1))
}

// explain turns an error of the machine into words without a stack trace.
func (v *VM) explain(ctx context.Context, t Task, m *meter, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", t.Name, ctx.Err())
	case m.left < 0:
		return &LimitError{Name: t.Name, Limit: fmt.Sprintf("ran more than %d instructions", maxInstructions)}
	case m.Err() != nil:
		return &LimitError{Name: t.Name, Limit: fmt.Sprintf("ran longer than %s", runTime)}
	}
	text := err.Error()
	var api *lua.ApiError
	if errors.As(err, &api) && api.Object != nil && api.Object != lua.LNil {
		text = api.Object.String()
	}
	return fmt.Errorf("%s: %s", t.Name, short(text))
}

func short(text string) string {
	text, _, _ = strings.Cut(text, "\nstack traceback")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return strings.TrimSpace(text)
}

func (v *VM) compile(name, source string) (*lua.FunctionProto, error) {
	v.mu.Lock()
	p := v.compiled[source]
	v.mu.Unlock()
	if p != nil {
		return p, nil
	}
	tree, err := parse.Parse(strings.NewReader(source), chunk)
	if err != nil {
		return nil, fmt.Errorf("%s does not compile: %s", name, short(err.Error()))
	}
	p, err = lua.Compile(tree, chunk)
	if err != nil {
		return nil, fmt.Errorf("%s does not compile: %s", name, short(err.Error()))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.compiled) >= maxCompiled {
		clear(v.compiled)
	}
	v.compiled[source] = p
	return p, nil
}

// Check compiles a script and runs nothing; the error says where it is wrong.
func (v *VM) Check(name, source string) error {
	_, err := v.compile(name, source)
	return err
}
