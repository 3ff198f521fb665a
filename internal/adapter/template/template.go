// Package template renders Go templates of ApplicationSets: text/template with
// the sprig functions that read nothing from outside, plus normalize, slugify,
// toYaml, fromYaml and fromYamlArray.
package template

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	gotemplate "text/template"
	"text/template/parse"

	"github.com/Masterminds/sprig/v3"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/appset"
)

// Bounds of what is kept compiled: a set renders the same few texts thousands
// of times.
const (
	maxKept     = 2000
	maxKeptText = 16 << 10
)

// Engine renders Go templates; several goroutines may use it. The zero value is
// not ready: use New.
type Engine struct {
	functions gotemplate.FuncMap
	clock     clock.PassiveClock

	mu   sync.Mutex
	kept map[string]*gotemplate.Template
}

var _ appset.Engine = (*Engine)(nil)

// New makes an engine; the clock ends templates that take too long.
func New(c clock.PassiveClock) *Engine {
	f := sprig.GenericFuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} {
		delete(f, name)
	}
	f["normalize"] = appset.Normalize
	f["slugify"] = slugify
	f["toYaml"] = func(v any) (string, error) {
		raw, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(raw), "\n"), err
	}
	f["fromYaml"] = func(s string) (out map[string]any, err error) { return out, yaml.Unmarshal([]byte(s), &out) }
	f["fromYamlArray"] = func(s string) (out []any, err error) { return out, yaml.Unmarshal([]byte(s), &out) }
	f = limited(f)
	f[printer] = printed
	return &Engine{functions: f, clock: c, kept: map[string]*gotemplate.Template{}}
}

// Render renders one string. An option the engine does not know, which makes
// text/template panic, is an error.
func (e *Engine) Render(text string, values map[string]any, options []string) (out string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("template %q: %v", text, p)
		}
	}()
	t, err := e.compiled(text, options)
	if err != nil {
		return "", fmt.Errorf("template %q: %s", text, strip(err))
	}
	b := bounded{clock: e.clock, begin: e.clock.Now()}
	if err := t.Execute(&b, values); err != nil {
		return "", fmt.Errorf("template %q: %s", text, strip(err))
	}
	return b.String(), nil
}

// compiled parses a text, or remembers it.
func (e *Engine) compiled(text string, options []string) (*gotemplate.Template, error) {
	key := strings.Join(options, ",") + "\x00" + text
	e.mu.Lock()
	t := e.kept[key]
	e.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if err := affordable(text); err != nil {
		return nil, err
	}
	t, err := gotemplate.New("").Funcs(e.functions).Option(options...).Parse(text)
	if err != nil {
		return nil, err //nolint:wrapcheck // wrapped by the caller
	}
	for _, named := range t.Templates() {
		printNumbers(named.Root)
		tick(named.Root)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.kept) >= maxKept {
		clear(e.kept)
	}
	if len(text) <= maxKeptText {
		e.kept[key] = t
	}
	return t, nil
}

// printer is the function that ends every pipeline that prints.
const printer = "_print"

// printed makes whole numbers print without an exponent: numbers of YAML and
// JSON are floating point, and 1000000 must not become 1e+06.
func printed(v any) any {
	if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return int64(f)
	}
	return v
}

// printNumbers appends the printer to every action below node that prints.
func printNumbers(node parse.Node) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			printNumbers(child)
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
				NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(printer).SetPos(n.Pos)},
			})
		}
	case *parse.IfNode:
		printNumbers(n.List)
		printNumbers(n.ElseList)
	case *parse.RangeNode:
		printNumbers(n.List)
		printNumbers(n.ElseList)
		tick(n.List)
	case *parse.WithNode:
		printNumbers(n.List)
		printNumbers(n.ElseList)
	}
}

// strip removes the engine's own prefix from its words.
func strip(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: :"), "template: ")
}

// slugify makes a URL slug: slugify [length] [smart] text.
func slugify(args ...any) (string, error) {
	limit, smart := 50, true
	if len(args) == 0 || len(args) > 3 {
		return "", errors.New("slugify wants [length] [smart] text")
	}
	text, ok := args[len(args)-1].(string)
	if !ok {
		return "", errors.New("slugify: the last argument must be a string")
	}
	for _, a := range args[:len(args)-1] {
		switch t := a.(type) {
		case int:
			limit = t
		case bool:
			smart = t
		}
	}
	return appset.Slug(appset.Normalize(text), limit, smart), nil
}
