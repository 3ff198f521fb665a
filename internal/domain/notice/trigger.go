package notice

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// Trigger is a list of conditions, each with what is sent when it holds.
type Trigger []Condition

// Condition is one of a trigger.
type Condition struct {
	// When is the expression as it is written; empty never holds.
	When string
	// Send names templates, which become one message.
	Send []string

	when, oncePer *vm.Program
}

// Outcome is what became of a condition.
type Outcome struct {
	Holds bool
	// OncePer is the value that the message is sent once for; empty when nothing
	// is said of it.
	OncePer string
	// Err says why an expression gave nothing; the condition then does not hold,
	// or, of oncePer, is not to be sent.
	Err error
}

// Evaluate evaluates every condition, in order (spec/observability.md §4.2).
// Whoever calls bounds the time by ctx.
func (t Trigger) Evaluate(ctx context.Context, s *Subject) []Outcome {
	out := make([]Outcome, len(t))
	for i := range t {
		out[i] = t[i].evaluate(ctx, s)
	}
	return out
}

func (c *Condition) evaluate(ctx context.Context, s *Subject) Outcome {
	value, err := run(ctx, c.when, s)
	holds, isBool := value.(bool)
	switch {
	case err != nil:
		return Outcome{Err: fmt.Errorf("when: %w", err)}
	case c.when != nil && !isBool:
		return Outcome{Err: fmt.Errorf("when: gives %T, not true or false", value)}
	case !holds || c.oncePer == nil:
		return Outcome{Holds: holds}
	}
	if value, err = run(ctx, c.oncePer, s); err != nil {
		return Outcome{Holds: true, Err: fmt.Errorf("oncePer: %w", err)}
	}
	switch v := value.(type) {
	case nil:
		return Outcome{Holds: true}
	case string, bool, int, int64, float64, time.Duration, time.Time:
		return Outcome{Holds: true, OncePer: fmt.Sprint(v)}
	case []any: // revisions of several sources
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = fmt.Sprint(v[i])
		}
		return Outcome{Holds: true, OncePer: strings.Join(parts, ",")}
	}
	return Outcome{Holds: true, Err: fmt.Errorf("oncePer: gives %T, which is no text", value)}
}

// compile reads an expression; an empty one is nil.
func compile(text string) (*vm.Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	if len(text) > maxExpression {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(text), maxExpression)
	}
	g := &guard{}
	options := []expr.Option{
		expr.Env((&budget{}).around(&Subject{})), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.Patch(g),
	}
	for _, b := range builtins {
		options = append(options, expr.EnableBuiltin(b))
	}
	program, err := expr.Compile(text, options...)
	if g.err != nil {
		return nil, g.err
	}
	if err != nil {
		return nil, fmt.Errorf("is no expression: %s", firstLine(err))
	}
	return program, nil
}

// run evaluates; no panic leaves it.
func run(ctx context.Context, program *vm.Program, s *Subject) (out any, err error) {
	if program == nil {
		return nil, nil //nolint:nilnil // nothing is asked
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("%v", p)
		}
	}()
	b := &budget{ctx: ctx, steps: maxSteps, work: maxWork}
	out, err = expr.Run(program, b.around(s))
	if err != nil {
		return nil, fmt.Errorf("%s", firstLine(err))
	}
	return out, nil
}

// maxSaid bounds what errors repeat, in bytes.
const maxSaid = 200

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if len(line) > maxSaid {
		line = strings.ToValidUTF8(line[:maxSaid], "") + "..."
	}
	return line
}
