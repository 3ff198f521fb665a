package lua

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const (
	// maxMemory is what a script may use, in bytes.
	maxMemory = 64 << 20
	// hardMemory bounds the data of the whole child, in bytes: what one
	// instruction allocates between two looks of the guard.
	hardMemory = 512 << 20
	// maxStack bounds the stack of a goroutine, in bytes.
	maxStack = 32 << 20
	// look is how often the guard reads the size of the heap.
	look = 2 * time.Millisecond
	// exitMemory is the exit code of a child that used too much memory.
	exitMemory = 3
)

// Handler does one kind of work in a child. What it returns becomes JSON; a
// LimitError says that the work was stopped.
type Handler func(ctx context.Context, body []byte) (any, error)

// Serve is the life of a child: it answers requests until in ends. It must be
// the only thing that its process does, for it bounds the process. Handlers do
// what is not Lua, by kind.
func Serve(ctx context.Context, in io.Reader, out io.Writer, handlers map[string]Handler) error {
	debug.SetMaxStack(maxStack)
	base := heap()
	debug.SetMemoryLimit(int64(base + maxMemory))
	if err := confine(hardMemory); err != nil {
		return err
	}
	go guard(base + maxMemory + maxMemory/2)
	if err := writeFrame(out, nil); err != nil { // ready
		return err
	}
	vm := NewVM()
	for {
		raw, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		payload, err := json.Marshal(handle(ctx, vm, handlers, raw))
		if err != nil {
			return err
		}
		if len(payload) > maxFrame {
			if payload, err = json.Marshal(response{Limit: "returned too large a table"}); err != nil {
				return err
			}
		}
		if err := writeFrame(out, payload); err != nil {
			return err
		}
	}
}

func handle(ctx context.Context, vm *VM, handlers map[string]Handler, raw []byte) response {
	kind, body, _ := bytes.Cut(raw, []byte("\n"))
	do := handlers[string(kind)]
	if string(kind) == kindLua {
		do = vm.handle
	}
	if do == nil {
		return response{Error: fmt.Sprintf("request of the parent: %q is no kind of work", kind)}
	}
	value, err := do(ctx, body)
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return response{Limit: limit.Limit}
	case err != nil:
		return response{Error: err.Error()}
	}
	answer, err := json.Marshal(value)
	if err != nil {
		return response{Error: "answer is not JSON: " + err.Error()}
	}
	return response{Value: answer}
}

// handle runs a Task.
func (v *VM) handle(ctx context.Context, body []byte) (any, error) {
	var t Task
	if err := utiljson.Unmarshal(body, &t); err != nil {
		return nil, fmt.Errorf("request of the parent: %w", err)
	}
	return v.Run(ctx, t)
}

// guard ends the process when its heap grows beyond the limit.
func guard(limit uint64) {
	for range time.Tick(look) {
		if heap() > limit {
			os.Exit(exitMemory)
		}
	}
}

// heap is the size of what was allocated and not yet collected, in bytes.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
