package analysis

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Bounds of a condition: its length, its parts, and the samples it is applied
// to. Loops do not nest, so that its work is at most parts times samples.
const (
	maxCondition = 4 << 10
	maxParts     = 200
	// MaxSamples is how many samples a result may have.
	MaxSamples = 1000
)

// maxShownText bounds what messages show of a condition, in bytes.
const maxShownText = 200

// Condition is a compiled expression over result.
type Condition struct {
	text    string // as messages show it
	program *vm.Program
}

// builtins are the functions of the language that conditions may use; none
// makes strings or lists that are much longer than what it is given.
var builtins = []string{
	"all", "any", "none", "one", "filter", "map", "count", "sum", "mean", "median", "min", "max",
	"len", "abs", "ceil", "floor", "round", "int", "float", "first", "last",
}

// compile reads a condition; an empty one is nil.
func compile(text string) (*Condition, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > maxCondition {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(text), maxCondition)
	}
	options := []expr.Option{expr.Env(environment{}), expr.AsBool(), expr.MaxNodes(maxParts), expr.DisableAllBuiltins()}
	for _, b := range builtins {
		options = append(options, expr.EnableBuiltin(b))
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("is not an expression: %s", firstLine(err))
	}
	if err := flat(tree.Node); err != nil {
		return nil, err
	}
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, fmt.Errorf("is not a condition: %s", firstLine(err))
	}
	return &Condition{text: clip(strings.Join(strings.Fields(text), " "), maxShownText), program: program}, nil
}

// flat refuses what could run, or grow, without end: ranges, loops inside loops,
// and variables, each of which could be twice the one before.
func flat(node ast.Node) error {
	isLoop := func(n ast.Node) bool { _, ok := n.(*ast.PredicateNode); return ok }
	var err error
	ast.Find(node, func(n ast.Node) bool {
		switch t := n.(type) {
		case *ast.BinaryNode:
			if t.Operator == ".." {
				err = errors.New("ranges are not available in conditions")
			}
		case *ast.VariableDeclaratorNode:
			err = errors.New("variables are not available in conditions")
		case *ast.PredicateNode:
			if ast.Find(t.Node, isLoop) != nil {
				err = errors.New("a function over a list inside another one is not available in conditions")
			}
		}
		return err != nil
	})
	return err
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return clip(line, 200)
}

// environment is what a condition sees: the result and, as in Argo Rollouts,
// a few functions beyond those of the language.
type environment struct {
	Result  any                        `expr:"result"`
	IsNaN   func(float64) bool         `expr:"isNaN"`
	IsInf   func(float64) bool         `expr:"isInf"`
	IsNil   func(any) bool             `expr:"isNil"`
	AsFloat func(any) (float64, error) `expr:"asFloat"`
	AsInt   func(any) (int, error)     `expr:"asInt"`
	Default func(x, fallback any) any  `expr:"default"`
}

func surround(result any) environment {
	return environment{
		Result:  result,
		IsNaN:   math.IsNaN,
		IsInf:   func(x float64) bool { return math.IsInf(x, 0) },
		IsNil:   func(x any) bool { return x == nil },
		AsFloat: asFloat,
		AsInt: func(x any) (int, error) {
			f, err := asFloat(x)
			return int(f), err
		},
		Default: func(x, fallback any) any {
			if x == nil {
				return fallback
			}
			return x
		},
	}
}

func asFloat(x any) (float64, error) {
	switch t := x.(type) {
	case float64:
		return t, nil
	case int:
		return float64(t), nil
	case string:
		return strconv.ParseFloat(t, 64)
	}
	return 0, fmt.Errorf("%T is not a number", x)
}

// holds evaluates the condition; no panic leaves it.
func (c *Condition) holds(result any) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			ok, err = false, fmt.Errorf("condition %q: %v", c.text, p)
		}
	}()
	out, err := expr.Run(c.program, surround(result))
	if err != nil {
		return false, fmt.Errorf("condition %q: %s", c.text, firstLine(err))
	}
	answer, isBool := out.(bool)
	if !isBool {
		return false, fmt.Errorf("condition %q gives %T, not true or false", c.text, out)
	}
	return answer, nil
}
