// Package jq finds the places in an object that a jq expression names. The
// expressions come from users: they know no environment, no input and no
// modules, and are bounded in length, time and output.
package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/itchyny/gojq"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

// Bounds of one expression.
const (
	maxLength = 4 << 10
	maxPaths  = 10_000
	maxDepth  = 64
	// DefaultTimeout is how long one evaluation may take (spec/diff-health.md §5.1).
	DefaultTimeout = time.Second
)

// Compiler reads expressions. Timeout bounds each evaluation; zero is
// DefaultTimeout.
type Compiler struct{ Timeout time.Duration }

// Compile reads an expression such as .spec.containers[].image.
func (c Compiler) Compile(expression string) (diff.Query, error) {
	if len(expression) > maxLength {
		return nil, fmt.Errorf("is %d bytes long, at most %d are allowed: split it", len(expression), maxLength)
	}
	if strings.TrimSpace(expression) == "" {
		return nil, errors.New("is empty: name a place such as .spec.replicas")
	}
	parsed, err := gojq.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("%q is not a jq expression: %w", expression, err)
	}
	if len(parsed.Imports) > 0 || parsed.Meta != nil {
		return nil, fmt.Errorf("%q imports a module, which is not allowed here", expression)
	}
	paths, err := gojq.Parse("path(" + parsed.String() + ")")
	if err != nil {
		return nil, fmt.Errorf("%q is not a jq expression: %w", expression, err)
	}
	code, err := gojq.Compile(paths)
	if err != nil {
		return nil, fmt.Errorf("%q is not a jq expression: %w", expression, err)
	}
	q := &query{text: expression, code: code, timeout: c.Timeout}
	if q.timeout <= 0 {
		q.timeout = DefaultTimeout
	}
	return q, nil
}

type query struct {
	text    string
	code    *gojq.Code
	timeout time.Duration
}

// Paths evaluates the expression. What does not fit the object, for example
// an index into a text, names no place; taking too long is an error.
func (q *query) Paths(ctx context.Context, object map[string]any) (out []diff.Path, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%q could not be evaluated: simplify it", q.text)
		}
	}()
	input, err := plain(object)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	iter := q.code.RunWithContext(bounded, input)
	for {
		v, ok := iter.Next()
		if !ok {
			return out, nil
		}
		if failure, is := v.(error); is {
			if bounded.Err() != nil {
				return nil, fmt.Errorf("%q took longer than %s: simplify it", q.text, q.timeout)
			}
			var halt *gojq.HaltError
			if errors.As(failure, &halt) {
				return out, nil
			}
			return nil, nil // it does not fit this object: nothing is named
		}
		path, fits := convert(v)
		if !fits || len(out) >= maxPaths {
			return nil, fmt.Errorf("%q names more than %d places or one deeper than %d: narrow it", q.text, maxPaths, maxDepth)
		}
		out = append(out, path)
	}
}

func convert(v any) (diff.Path, bool) {
	list, ok := v.([]any)
	if !ok || len(list) > maxDepth {
		return nil, false
	}
	path := make(diff.Path, 0, len(list))
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

// plain turns the object into the types that the library knows.
func plain(object map[string]any) (any, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("object cannot be read: %w", err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("object cannot be read: %w", err)
	}
	return out, nil
}
