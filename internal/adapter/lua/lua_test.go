package lua_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/health"
)

// TestMain makes this test binary its own worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == lua.WorkerCommand {
		if err := lua.Serve(context.Background(), os.Stdin, os.Stdout, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func pool(t testing.TB, c clock.Clock) *lua.Pool {
	t.Helper()
	p, err := lua.NewPool(lua.PoolOptions{Clock: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u.Object
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// TestContract runs scripts in this process and in a child: both answer alike.
func TestContract(t *testing.T) {
	obj := object(t, "{apiVersion: v1, kind: X, metadata: {name: a, none: null}, list: [1, 2.5, yes], big: 9007199254740993, deep: {a: {b: [{c: d}]}}}")
	runners := map[string]lua.Runner{"here": lua.NewVM(), "child": pool(t, testclock.NewFakeClock(noon))}
	for name, c := range map[string]struct {
		source string
		open   bool
		want   any
		err    string
	}{
		"returns nothing":       {source: "local a = 1", want: nil},
		"empty table":           {source: "return {}", want: map[string]any{}},
		"map":                   {source: "return {status='Healthy', n=3, f=0.5, b=true}", want: map[string]any{"status": "Healthy", "n": int64(3), "f": 0.5, "b": true}},
		"list":                  {source: "return {1, 'a', {x={}}}", want: []any{int64(1), "a", map[string]any{"x": map[string]any{}}}},
		"the object":            {source: "return {obj.metadata.name, obj.list[2], obj.deep.a.b[1].c, type(obj.metadata.none)}", want: []any{"a", 2.5, "d", "nil"}},
		"goto":                  {source: "local i = 0 ::top:: i = i + 1 if i < 3 then goto top end return {i}", want: []any{int64(3)}},
		"text":                  {source: "return 'x'", err: "test: expect table output from Lua script, not string"},
		"number":                {source: "return 3", err: "test: expect table output from Lua script, not number"},
		"boolean":               {source: "return true", err: "test: expect table output from Lua script, not boolean"},
		"function":              {source: "return print or function() end", err: "test: expect table output from Lua script, not function"},
		"function inside":       {source: "return {f=function() end}", err: "test: the script returned a function inside its table: only text, numbers, booleans and tables are allowed"},
		"table in itself":       {source: "local a = {} a.a = a return a", err: "test: the script returned a table nested deeper than 100, or one that holds itself"},
		"no finite number":      {source: "return {1/0}", err: "test: the script returned a number that is not finite"},
		"no stack in errors":    {source: "local f = function() error('gone wrong') end\nf()", err: "test: script:1: gone wrong"},
		"error table":           {source: "error({})", err: "test: table: "},
		"nil index":             {source: "return obj.status.phase", err: "test: script:1: attempt to index a non-table object(nil) with key 'phase'"},
		"no compile":            {source: "return {", err: "test does not compile: script at EOF:   syntax error"},
		"string is closed":      {source: "return {string, math, io, os}", want: map[string]any{}},
		"string methods closed": {source: "return {('x'):rep(3)}", err: "test: script:1: attempt to index a non-table object(string) with key 'rep'"},
		"open libraries":        {open: true, source: "return {string.upper('x'), math.max(1, 2), ('y'):rep(2), type(io), type(os.execute), type(os.getenv), type(os.date)}", want: []any{"X", int64(2), "yy", "nil", "nil", "nil", "function"}},
		"safe os":               {source: "local os = require('os') return {os.time(), os.date('!%Y-%m-%dT%H:%M:%SZ'), os.date('!%H', 0), type(os.exit), os.time({year=2026, month=1, day=2, hour=12}) ~= nil}", want: []any{int64(1767355200), "2026-01-02T12:00:00Z", "00", "nil", true}},
		"require table":         {source: "return {require('table').concat({'a', 'b'}, '-')}", want: []any{"a-b"}},
		"require io":            {source: "require('io')", err: `test: script:1: module "io" is not available`},
		"require a file":        {source: "require('/etc/passwd')", err: `test: script:1: module "/etc/passwd" is not available`},
		"no files":              {source: "return {type(dofile), type(loadfile), type(print), type(module), type(collectgarbage), type(package.loaders), type(package.path), type(debug), type(coroutine)}", want: []any{"nil", "nil", "nil", "nil", "nil", "nil", "nil", "nil", "nil"}},
		"loadstring":            {source: "return {loadstring('return 4')()}", want: []any{int64(4)}},
		"parameters":            {source: "return {actionParams.replicas, type(actionParams.none)}", want: []any{"3", "nil"}},
		"deep calls":            {source: "local f f = function() return 1 + f() end return {f()}", err: "test: lua callstack overflow"},
		"wide calls":            {source: "local t = {} for i = 1, 100000 do t[i] = i end return {unpack(t)}", err: "test: script:1: registry overflow"},
		"output too large":      {source: "local t = {} for i = 1, 600000 do t[i] = i end return t", err: "test: the script returned more than 500000 values"},
	} {
		for where, r := range runners {
			t.Run(name+"/"+where, func(t *testing.T) {
				got, err := r.Run(t.Context(), lua.Task{Name: "test", Source: c.source, OpenLibs: c.open, Object: obj, Now: noon, Params: map[string]string{"replicas": "3"}})
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				if err != nil && strings.Contains(err.Error(), "traceback") {
					t.Errorf("a stack trace in %q", err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestStateIsFresh sees nothing of an earlier run.
func TestStateIsFresh(t *testing.T) {
	for where, r := range map[string]lua.Runner{"here": lua.NewVM(), "child": pool(t, clock.RealClock{})} {
		for range 3 {
			got, err := r.Run(t.Context(), lua.Task{Name: "test", Source: "x = (x or 0) + 1 table.seen = (table.seen or 0) + 1 return {x, table.seen}", Now: noon})
			if diff := cmp.Diff([]any{int64(1), int64(1)}, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", where, err, diff)
			}
		}
	}
}

// TestSourceIsNotChanged by a script that writes into obj.
func TestSourceIsNotChanged(t *testing.T) {
	obj := map[string]any{"a": map[string]any{"b": "c"}}
	if _, err := lua.NewVM().Run(t.Context(), lua.Task{Name: "test", Source: "obj.a.b = 'd' obj.a = nil return obj", Object: obj}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"a": map[string]any{"b": "c"}}, obj); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestVMStopsLoops by counting instructions, whatever the script catches.
func TestVMStopsLoops(t *testing.T) {
	for name, source := range map[string]string{
		"loop":             "while true do end",
		"caught":           "while true do pcall(function() while true do end end) end",
		"caught, then out": "pcall(function() while true do end end) return {}",
		"recursion":        "local f f = function() return f() end f()",
	} {
		_, err := lua.NewVM().Run(t.Context(), lua.Task{Name: "test", Source: source})
		if err == nil || !strings.Contains(err.Error(), "test was stopped: it ran ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVMEndsWithItsContext in the middle of a script.
func TestVMEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := lua.NewVM().Run(ctx, lua.Task{Name: "test", Source: "while true do end"})
	if err == nil || err.Error() != "test: context canceled" {
		t.Errorf("error %v", err)
	}
}

// bombs are scripts that hurt; each must end with the words behind it.
var bombs = map[string]struct {
	source string
	open   bool
	want   []string
}{
	"loop":            {source: "while true do end", want: []string{"ran "}},
	"doubling text":   {source: "local s = 'x' while true do s = s .. s end", want: []string{"used more than 64 MiB of memory"}},
	"growing table":   {source: "local t = {} local i = 0 while true do i = i + 1 t[i] = {i} end", want: []string{"used more than 64 MiB of memory", "ran "}},
	"far index":       {source: "local t = {} for i = 1, 100 do t[i] = {} t[i][67108000] = 1 end return {}", want: []string{"used more than 64 MiB of memory"}},
	"far insert":      {source: "local t = {} table.insert(t, 67108000, 1) return {}", want: []string{"used more than 64 MiB of memory"}},
	"rep":             {open: true, source: "return {string.rep('x', 1e10)}", want: []string{"used more than 64 MiB of memory"}},
	"slow pattern":    {open: true, source: "return {string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('.-', 40) .. 'b')}", want: []string{"ran longer than 1s", "ran "}},
	"deep nesting":    {source: "return " + strings.Repeat("(", 2_000_000) + "1" + strings.Repeat(")", 2_000_000), want: []string{"needed too deep a stack", "used more than 64 MiB of memory", "does not compile", "ran "}},
	"deep tables":     {source: "local t = {} while true do t = {t} end", want: []string{"used more than 64 MiB of memory", "ran "}},
	"sort comparator": {source: "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() while true do end end)", want: []string{"ran "}},
	"endless index":   {source: "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return {t[1]}", want: []string{"stack overflow", "callstack overflow", "ran ", "needed too deep a stack"}},
}

// TestHostileScriptsFailAlone: each bomb ends with a clear error, and a good
// script runs at once afterwards in the same pool.
func TestHostileScriptsFailAlone(t *testing.T) {
	p := pool(t, clock.RealClock{})
	for name, bomb := range bombs {
		_, err := p.Run(t.Context(), lua.Task{Name: "health script of Bomb", Source: bomb.source, OpenLibs: bomb.open, Object: map[string]any{"kind": "Bomb"}})
		if err == nil || !strings.HasPrefix(err.Error(), "health script of Bomb") {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if matched := func() bool {
			for _, w := range bomb.want {
				if strings.Contains(err.Error(), w) {
					return true
				}
			}
			return false
		}(); !matched {
			t.Errorf("%s: error %q, want one of %q", name, err, bomb.want)
		}
		good, err := p.Run(t.Context(), lua.Task{Name: "good", Source: "return {obj.kind}", Object: map[string]any{"kind": "Good"}})
		if diff := cmp.Diff([]any{"Good"}, good); err != nil || diff != "" {
			t.Errorf("after %s: %v %s", name, err, diff)
		}
	}
}

// TestAScriptThatIsStoppedAgainAndAgain is left out for a minute; others run.
func TestAScriptThatIsStoppedAgainAndAgain(t *testing.T) {
	c := testclock.NewFakeClock(noon)
	p := pool(t, c)
	const loop = "while true do end"
	run := func(source string) (text string, held bool) {
		_, err := p.Run(t.Context(), lua.Task{Name: "bad", Source: source})
		if err == nil {
			return "", false
		}
		var limit *lua.LimitError
		return err.Error(), errors.As(err, &limit) && limit.Held
	}
	for range 3 {
		if got, held := run(loop); held || !strings.Contains(got, "it ran ") {
			t.Fatal(got, held)
		}
	}
	if got, held := run(loop); !held || !strings.Contains(got, "it ran ") {
		t.Fatal(got, held)
	}
	if got, _ := run("return {}"); got != "" {
		t.Fatalf("another script: %s", got)
	}
	c.Step(time.Minute)
	if got, held := run(loop); held || !strings.Contains(got, "it ran ") {
		t.Fatalf("after the pause: %s", got)
	}
}

// TestWorkersHaveNoEnvironment: credentials in variables do not reach a child.
func TestWorkersHaveNoEnvironment(t *testing.T) {
	t.Setenv("LUA_PATH", "/tmp/secret/?.lua")
	p := pool(t, clock.RealClock{})
	got, err := p.Run(t.Context(), lua.Task{Name: "test", OpenLibs: true, Source: "return {tostring(package.path), type(os.getenv)}"})
	if diff := cmp.Diff([]any{"nil", "nil"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestAPoolThatIsClosed refuses politely.
func TestAPoolThatIsClosed(t *testing.T) {
	p := pool(t, clock.RealClock{})
	if _, err := p.Run(t.Context(), lua.Task{Name: "test", Source: "return {}"}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if _, err := p.Run(t.Context(), lua.Task{Name: "test", Source: "return {}"}); err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("error %v", err)
	}
}

// TestCustomHealth plays the archives of testdata: "argocd-cm" holds the
// settings, "case = Code message" an object.
func TestCustomHealth(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	runner := pool(t, clock.RealClock{})
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var assessor health.Assessor
		for _, f := range archive.Files {
			if f.Name == "argocd-cm" {
				var data map[string]string
				if err := yaml.UnmarshalStrict(f.Data, &data); err != nil {
					t.Fatal(err)
				}
				set, errs := customization.Parse(data)
				if len(errs) > 0 {
					t.Fatal(errs)
				}
				assessor.Custom = lua.NewCustom(set, runner)
				continue
			}
			title, want, _ := strings.Cut(f.Name, " = ")
			v := assessor.Assess(t.Context(), &unstructured.Unstructured{Object: object(t, string(f.Data))}, nil)
			got := strings.TrimSpace(string(v.Code) + " " + v.Message)
			if !v.Known {
				got = "nothing"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", name, title, diff)
			}
		}
	}
}

// TestAWorkerThatDoesNotStart is an error of the set-up, not of the script.
func TestAWorkerThatDoesNotStart(t *testing.T) {
	for name, command := range map[string][]string{"no program": {"/no/such/program"}, "another program": {"/bin/false"}} {
		p, err := lua.NewPool(lua.PoolOptions{Command: command, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Run(t.Context(), lua.Task{Name: "test", Source: "return {}"})
		var limit *lua.LimitError
		if err == nil || !strings.HasPrefix(err.Error(), "test: start a worker: ") || errors.As(err, &limit) {
			t.Errorf("%s: error %v", name, err)
		}
		p.Close()
	}
}
