package lua

import (
	lua "github.com/yuin/gopher-lua"
)

// forbidden are functions of the base library that reach files, the output or
// the inside of the machine.
var forbidden = []string{"dofile", "loadfile", "print", "_printregs", "collectgarbage", "module", "newproxy"}

// open fills a fresh state with what a script may use.
func open(l *lua.LState, t Task) {
	load := func(name string, f lua.LGFunction) {
		l.Push(l.NewFunction(f))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	load(lua.BaseLibName, lua.OpenBase)
	load(lua.TabLibName, lua.OpenTable)
	load(lua.OsLibName, lua.OpenOs)
	if t.OpenLibs {
		load(lua.StringLibName, lua.OpenString)
		load(lua.MathLibName, lua.OpenMath)
	}
	for _, name := range forbidden {
		l.SetGlobal(name, lua.LNil)
	}
	loaded := l.NewTable()
	clockwork := safeOs(l, t.Now.Unix())
	loaded.RawSetString(lua.OsLibName, clockwork)
	l.SetGlobal(lua.OsLibName, lua.LNil)
	if t.OpenLibs {
		l.SetGlobal(lua.OsLibName, clockwork)
	}
	for _, name := range []string{lua.TabLibName, lua.StringLibName, lua.MathLibName} {
		if module := l.GetGlobal(name); module != lua.LNil {
			loaded.RawSetString(name, module)
		}
	}
	pack := l.NewTable()
	pack.RawSetString("loaded", loaded)
	l.SetGlobal(lua.LoadLibName, pack)
	l.SetGlobal("require", l.NewFunction(func(l *lua.LState) int {
		module := loaded.RawGetString(l.CheckString(1))
		if module == lua.LNil {
			l.RaiseError("module %q is not available: scripts have base, package, table and os (time, date), "+
				"with open libraries string and math too", short(l.CheckString(1)))
		}
		l.Push(module)
		return 1
	}))
	l.SetGlobal("obj", toLua(l, t.Object))
	if t.Action != "" {
		l.SetGlobal("actionName", lua.LString(t.Action))
	}
	params := l.NewTable()
	for name, value := range t.Params {
		params.RawSetString(name, lua.LString(value))
	}
	l.SetGlobal("actionParams", params)
}

// safeOs has time and date only; without a time they mean now.
func safeOs(l *lua.LState, now int64) *lua.LTable {
	full, ok := l.GetGlobal(lua.OsLibName).(*lua.LTable)
	safe := l.NewTable()
	if !ok {
		return safe
	}
	date, clock := full.RawGetString("date"), full.RawGetString("time")
	safe.RawSetString("time", l.NewFunction(func(l *lua.LState) int {
		if l.GetTop() == 0 {
			l.Push(lua.LNumber(now))
			return 1
		}
		fields := l.CheckTable(1)
		l.Push(clock)
		l.Push(fields)
		l.Call(1, 1)
		return 1
	}))
	safe.RawSetString("date", l.NewFunction(func(l *lua.LState) int {
		format, at := l.OptString(1, "%c"), l.OptInt64(2, now)
		l.Push(date)
		l.Push(lua.LString(format))
		l.Push(lua.LNumber(at))
		l.Call(2, 1)
		return 1
	}))
	return safe
}
