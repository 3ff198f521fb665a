package lua

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

// toLua turns JSON values into Lua ones; null becomes nil, so it is absent
// from tables.
func toLua(l *lua.LState, v any) lua.LValue {
	switch x := v.(type) {
	case string:
		return lua.LString(x)
	case bool:
		return lua.LBool(x)
	case int64:
		return lua.LNumber(x)
	case float64:
		return lua.LNumber(x)
	case int:
		return lua.LNumber(x)
	case []any:
		t := l.CreateTable(len(x), 0)
		for _, item := range x {
			if item != nil {
				t.Append(toLua(l, item))
			}
		}
		return t
	case map[string]any:
		t := l.CreateTable(0, len(x))
		for key, item := range x {
			if item != nil {
				t.RawSetString(key, toLua(l, item))
			}
		}
		return t
	}
	return lua.LNil
}

// Bounds of what a script may answer with.
const (
	maxDepth  = 100
	maxValues = 500_000
)

// answer is what a script returned, as JSON values.
func answer(t Task, v lua.LValue) (any, error) {
	switch v.(type) {
	case *lua.LNilType:
		return nil, nil
	case *lua.LTable:
	default:
		return nil, fmt.Errorf("%s: expect table output from Lua script, not %s", t.Name, v.Type())
	}
	c := converter{left: maxValues}
	out, err := c.value(v, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return out, nil
}

type converter struct{ left int }

func (c *converter) value(v lua.LValue, depth int) (any, error) {
	if c.left--; c.left < 0 {
		return nil, fmt.Errorf("the script returned more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("the script returned a table nested deeper than %d, or one that holds itself", maxDepth)
	}
	switch x := v.(type) {
	case lua.LString:
		return string(x), nil
	case lua.LBool:
		return bool(x), nil
	case lua.LNumber:
		return numeric(float64(x))
	case *lua.LTable:
		return c.table(x, depth)
	}
	return nil, fmt.Errorf("the script returned a %s inside its table: only text, numbers, booleans and tables are allowed", v.Type())
}

func numeric(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("the script returned a number that is not finite")
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<62 {
		return int64(f), nil
	}
	return f, nil
}

// table is a list when its keys are 1 to n.
func (c *converter) table(t *lua.LTable, depth int) (any, error) {
	n, entries := t.Len(), 0
	t.ForEach(func(lua.LValue, lua.LValue) { entries++ })
	if n > 0 && n == entries {
		out := make([]any, 0, n)
		for i := 1; i <= n; i++ {
			item, err := c.value(t.RawGetInt(i), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, item)
		}
		return out, nil
	}
	out := make(map[string]any, entries)
	var failed error
	t.ForEach(func(k, v lua.LValue) {
		if failed != nil {
			return
		}
		item, err := c.value(v, depth+1)
		if err != nil {
			failed = err
			return
		}
		switch key := k.(type) {
		case lua.LString:
			out[string(key)] = item
		case lua.LNumber:
			out[strconv.FormatFloat(float64(key), 'f', -1, 64)] = item
		default:
			failed = fmt.Errorf("the script returned a table with a %s as key", k.Type())
		}
	})
	return out, failed
}
