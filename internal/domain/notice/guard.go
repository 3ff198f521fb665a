package notice

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/expr-lang/expr/ast"
)

// Bounds of an expression and of one evaluation.
const (
	maxExpression = 8 << 10
	maxNodes      = 1000
	// maxSteps are turns of loops.
	maxSteps = 200_000
	// maxValue is the size of a value that is made on the way, expanded; maxWork
	// that of all of them.
	maxValue = 1 << 20
	maxWork  = 32 << 20
	nodeCost = 8
)

// builtins are the functions of the language that may be used: none reads a
// clock, time zones or anything else from outside, and none makes much of little
// or compares everything with everything.
var builtins = []string{
	"all", "any", "none", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count", "sum", "mean", "median", "min", "max",
	"groupBy", "countBy", "sortBy", "sort", "reduce", "take", "reverse", "first", "last", "keys", "values", "toPairs", "fromPairs", "get", "len",
	"abs", "ceil", "floor", "round", "int", "float", "string", "type", "duration",
	"trim", "trimPrefix", "trimSuffix", "upper", "lower", "split", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix", "fromJSON", "toBase64", "fromBase64",
}

// scalars are those of them that give no value which could be large.
var scalars = map[string]bool{
	"all": true, "any": true, "none": true, "one": true, "count": true, "findIndex": true, "findLastIndex": true, "len": true, "abs": true, "ceil": true,
	"floor": true, "round": true, "int": true, "float": true, "indexOf": true, "lastIndexOf": true, "hasPrefix": true, "hasSuffix": true, "type": true, "duration": true,
}

// Names by which compiled expressions find their budget.
const (
	stepName  = "_step"
	boundName = "_bound"
)

// guard puts a step into every turn of a loop, and a bound around every value
// that an expression makes.
type guard struct{ err error }

// Visit changes a node; those below it are changed already.
func (g *guard) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{call(stepName), n.Node}}
	case *ast.BinaryNode:
		switch n.Operator {
		case "..":
			g.err = errors.New("uses a range, which is not available here")
		case "+":
			*node = call(boundName, n)
		}
	case *ast.BuiltinNode:
		if !scalars[n.Name] {
			*node = call(boundName, n)
		}
	case *ast.ArrayNode:
		for _, one := range n.Nodes {
			switch one.(type) {
			case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode:
			default:
				*node = call(boundName, n)
				return
			}
		}
	case *ast.MapNode:
		*node = call(boundName, n)
	case *ast.IdentifierNode:
		if n.Value == stepName || n.Value == boundName {
			g.err = fmt.Errorf("uses the name %s, which is not available", n.Value)
		}
	}
}

func call(name string, args ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// budget is what one evaluation may still use.
type budget struct {
	ctx         context.Context //nolint:containedctx // of one evaluation
	steps, work int
}

// around is what an expression sees of a subject, with the budget.
func (b *budget) around(s *Subject) map[string]any {
	out := maps.Clone(s.variables())
	out[stepName], out[boundName] = b.step, b.bound
	return out
}

func (b *budget) step() (bool, error) {
	b.steps--
	if b.steps < 0 {
		return false, fmt.Errorf("takes more than %d steps", maxSteps)
	}
	if b.ctx.Err() != nil {
		return false, errors.New("takes too long")
	}
	return true, nil
}

func (b *budget) bound(v any) (any, error) {
	left := maxValue
	if !measure(reflect.ValueOf(v), &left) {
		return nil, fmt.Errorf("makes a value of more than %d bytes", maxValue)
	}
	if b.work -= maxValue - left; b.work < 0 {
		return nil, errors.New("makes too many large values")
	}
	return v, nil
}

// measure subtracts the size of a value, expanded, from what is left; false when
// that does not suffice.
func measure(v reflect.Value, left *int) bool {
	*left -= nodeCost
	if *left < 0 {
		return false
	}
	switch v.Kind() {
	case reflect.String:
		*left -= v.Len()
	case reflect.Interface, reflect.Pointer:
		return v.IsNil() || measure(v.Elem(), left)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !measure(v.Index(i), left) {
				return false
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if !measure(it.Key(), left) || !measure(it.Value(), left) {
				return false
			}
		}
	}
	return *left >= 0
}
