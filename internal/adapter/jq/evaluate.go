package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/itchyny/gojq"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

// Kind names the work of an Evaluator among that of a worker.
const Kind = "jq"

// request is what an Evaluator is asked.
type request struct {
	Expressions []string        `json:"expressions"`
	Object      json.RawMessage `json:"object"`
	// Timeout is that of one expression.
	Timeout time.Duration `json:"timeout"`
}

// answer for one expression.
type answer struct {
	Paths []place `json:"paths,omitempty"`
	Error string  `json:"error,omitempty"`
}

// place is a path in JSON: texts and whole numbers.
type place []any

func (p place) path() diff.Path {
	out := make(diff.Path, len(p))
	for i, element := range p {
		if n, ok := element.(float64); ok {
			element = int(n)
		}
		out[i] = element
	}
	return out
}

// maxCompiled bounds the expressions that an Evaluator keeps compiled.
const maxCompiled = 512

// Evaluator evaluates expressions in the process it is in: a worker.
type Evaluator struct {
	mu       sync.Mutex
	compiled map[string]*gojq.Code
}

// NewEvaluator makes an Evaluator.
func NewEvaluator() *Evaluator { return &Evaluator{compiled: map[string]*gojq.Code{}} }

// Evaluate answers a request that a query made.
func (e *Evaluator) Evaluate(ctx context.Context, body []byte) (any, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("request for jq: %w", err)
	}
	var object any
	if err := json.Unmarshal(r.Object, &object); err != nil {
		return nil, fmt.Errorf("object for jq: %w", err)
	}
	out := make([]answer, len(r.Expressions))
	for i, text := range r.Expressions {
		paths, err := e.paths(ctx, text, object, r.Timeout)
		if err != nil {
			out[i].Error = err.Error()
			continue
		}
		out[i].Paths = paths
	}
	return out, nil
}

func (e *Evaluator) code(text string) (*gojq.Code, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.compiled[text]; known != nil {
		return known, nil
	}
	code, err := compile(text)
	if err != nil {
		return nil, err
	}
	if len(e.compiled) >= maxCompiled {
		clear(e.compiled)
	}
	e.compiled[text] = code
	return code, nil
}

func (e *Evaluator) paths(ctx context.Context, text string, object any, timeout time.Duration) (out []place, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%q could not be evaluated: simplify it", text)
		}
	}()
	code, err := e.code(text)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	iter := code.RunWithContext(bounded, object)
	for {
		v, ok := iter.Next()
		if !ok {
			return out, nil
		}
		if failure, is := v.(error); is {
			if bounded.Err() != nil {
				return nil, fmt.Errorf("%q took longer than %s: simplify it", text, timeout)
			}
			var halt *gojq.HaltError
			if errors.As(failure, &halt) {
				return out, nil
			}
			return nil, nil // it does not fit this object: nothing is named
		}
		path, fits := convert(v)
		if !fits || len(out) >= maxPaths {
			return nil, fmt.Errorf("%q names more than %d places or one deeper than %d: narrow it", text, maxPaths, maxDepth)
		}
		out = append(out, path)
	}
}

func convert(v any) (place, bool) {
	list, ok := v.([]any)
	if !ok || len(list) > maxDepth {
		return nil, false
	}
	path := make(place, 0, len(list))
	for _, element := range list {
		switch e := element.(type) {
		case string, int:
			path = append(path, e)
		default: // a slice such as .[1:3] names no single place
			return nil, true
		}
	}
	return path, true
}
