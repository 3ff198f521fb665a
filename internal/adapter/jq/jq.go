package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
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

// Caller has Evaluate called with body in a process that is bounded in memory
// and ended after limit, and gives its answer as JSON; source is the
// expression when there is only one.
type Caller func(ctx context.Context, source string, body []byte, limit time.Duration) (json.RawMessage, error)

// Compiler reads expressions. Timeout bounds each evaluation; zero is
// DefaultTimeout. Call is where they are evaluated; without it that is this
// process, where nothing bounds their memory: for tools that run expressions
// of their own user.
type Compiler struct {
	Timeout time.Duration
	Call    Caller
}

// Compile reads an expression such as .spec.containers[].image.
func (c Compiler) Compile(expression string) (diff.Query, error) {
	if _, err := compile(expression); err != nil {
		return nil, err
	}
	q := &query{text: expression, timeout: c.Timeout, call: c.Call}
	if q.timeout <= 0 {
		q.timeout = DefaultTimeout
	}
	if q.call == nil {
		q.call = here
	}
	return q, nil
}

func compile(expression string) (*gojq.Code, error) {
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
	return code, nil
}

// query is one expression; it is evaluated elsewhere.
type query struct {
	text    string
	timeout time.Duration
	call    Caller
	// dangerous says that the expression alone has ended a worker.
	dangerous atomic.Bool
}

var _ diff.Batch = (*query)(nil)

// Paths evaluates the expression. What does not fit the object, for example
// an index into a text, names no place; taking too long is an error.
func (q *query) Paths(ctx context.Context, object map[string]any) ([]diff.Path, error) {
	out, err := q.All(ctx, []diff.Query{q}, object)
	if err != nil {
		return nil, err
	}
	return out[0].Paths, out[0].Err
}

// All evaluates several expressions on one object, in one exchange but for
// those that have ended a worker before.
func (q *query) All(ctx context.Context, queries []diff.Query, object map[string]any) ([]diff.Answer, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("object cannot be read: %w", err)
	}
	out := make([]diff.Answer, len(queries))
	var together []int
	for i, one := range queries {
		other, ok := one.(*query)
		if !ok {
			return nil, fmt.Errorf("%T is not a jq expression", one)
		}
		if !other.dangerous.Load() {
			together = append(together, i)
			continue
		}
		if out[i], err = other.alone(ctx, raw); err != nil {
			return nil, err
		}
	}
	if len(together) == 0 {
		return out, nil
	}
	r := request{Timeout: q.timeout, Object: raw}
	for _, i := range together {
		r.Expressions = append(r.Expressions, queries[i].(*query).text)
	}
	answers, err := q.ask(ctx, r)
	for n, i := range together {
		if err == nil {
			out[i] = answers[n]
			continue
		}
		var failure error // one of them ended the worker: which?
		if out[i], failure = queries[i].(*query).alone(ctx, raw); failure != nil {
			return nil, failure
		}
	}
	return out, nil
}

// alone evaluates one expression in an exchange of its own. An error says that
// ctx has ended.
func (q *query) alone(ctx context.Context, object json.RawMessage) (diff.Answer, error) {
	got, err := q.ask(ctx, request{Timeout: q.timeout, Object: object, Expressions: []string{q.text}})
	if ctx.Err() != nil {
		return diff.Answer{}, ctx.Err()
	}
	if err != nil {
		q.dangerous.Store(true)
		return diff.Answer{Err: err}, nil
	}
	return got[0], nil
}

func (q *query) ask(ctx context.Context, r request) ([]diff.Answer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	source := ""
	if len(r.Expressions) == 1 {
		source = r.Expressions[0]
	}
	raw, err := q.call(ctx, source, body, time.Duration(len(r.Expressions))*q.timeout)
	if err != nil {
		return nil, err
	}
	var answers []answer
	if err := json.Unmarshal(raw, &answers); err != nil {
		return nil, fmt.Errorf("answer for jq expressions: %w", err)
	}
	if len(answers) != len(r.Expressions) {
		return nil, fmt.Errorf("%d answers for %d jq expressions", len(answers), len(r.Expressions))
	}
	out := make([]diff.Answer, len(answers))
	for i, a := range answers {
		if a.Error != "" {
			out[i].Err = errors.New(a.Error)
			continue
		}
		out[i].Paths = make([]diff.Path, len(a.Paths))
		for k, p := range a.Paths {
			out[i].Paths[k] = p.path()
		}
	}
	return out, nil
}

// here evaluates in this process.
func here(ctx context.Context, _ string, body []byte, limit time.Duration) (json.RawMessage, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := NewEvaluator().Evaluate(bounded, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}
