package template

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	gotemplate "text/template"
	"text/template/parse"
	"time"

	"k8s.io/utils/clock"
)

// Bounds of one template. Templates and parameters come from people who may be
// hostile or mistaken: neither time nor memory may grow without end.
const (
	maxOutput = 1 << 20
	maxValue  = 1 << 20
	maxCount  = 100_000
	maxRandom = 1 << 16
	maxWidth  = 9_999
	maxTime   = 5 * time.Second
	maxSteps  = 200_000
	maxCostly = 20
	nodeCost  = 8
)

// bounded takes what a template writes: not too much, not for too long. Every
// turn of a loop writes something, if only an empty text: that is where a
// template that goes on for ever is stopped.
type bounded struct {
	strings.Builder
	clock clock.PassiveClock
	begin time.Time
	steps int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.steps++
	switch {
	case b.Len()+len(p) > maxOutput:
		return 0, fmt.Errorf("output exceeds %d bytes", maxOutput)
	case b.steps > maxSteps:
		return 0, fmt.Errorf("takes more than %d steps", maxSteps)
	case b.steps%64 == 1 && b.clock.Since(b.begin) > maxTime:
		return 0, fmt.Errorf("takes more than %s", maxTime)
	}
	return b.Builder.Write(p)
}

// tick puts an empty text in front of a list of nodes.
func tick(list *parse.ListNode) {
	if list != nil {
		list.Nodes = append([]parse.Node{&parse.TextNode{NodeType: parse.NodeText, Pos: list.Pos}}, list.Nodes...)
	}
}

// costly are functions that compute long for a short answer.
var costly = regexp.MustCompile(`\b(bcrypt|htpasswd|derivePassword|encryptAES|decryptAES|gen[A-Z][A-Za-z]*)\b`)

func affordable(text string) error {
	if n := len(costly.FindAllStringIndex(text, maxCostly+1)); n > maxCostly {
		return fmt.Errorf("names functions that compute keys and passwords more than %d times", maxCostly)
	}
	return nil
}

var errTooLarge = fmt.Errorf("makes or takes a value of more than %d bytes", maxValue)

// measure subtracts the size of a value, expanded, from a budget; false when it
// does not suffice.
func measure(v reflect.Value, budget *int) bool {
	*budget -= nodeCost
	if *budget < 0 {
		return false
	}
	switch v.Kind() {
	case reflect.String:
		*budget -= v.Len()
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return measure(v.Elem(), budget)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			*budget -= v.Len()
			break
		}
		for i := range v.Len() {
			if !measure(v.Index(i), budget) {
				return false
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if !measure(it.Key(), budget) || !measure(it.Value(), budget) {
				return false
			}
		}
	}
	return *budget >= 0
}

var errorType = reflect.TypeFor[error]()

// limit makes a function refuse what is too large to take, to compute or to
// give.
func limit(name string, function any) any {
	f := reflect.ValueOf(function)
	t := f.Type()
	in, out := make([]reflect.Type, t.NumIn()), []reflect.Type{t.Out(0), errorType}
	for i := range in {
		in[i] = t.In(i)
	}
	return reflect.MakeFunc(reflect.FuncOf(in, out, t.IsVariadic()), func(args []reflect.Value) []reflect.Value {
		refuse := func(err error) []reflect.Value {
			return []reflect.Value{reflect.Zero(t.Out(0)), reflect.ValueOf(&err).Elem()}
		}
		budget := maxValue
		for _, a := range args {
			if !measure(a, &budget) {
				return refuse(errTooLarge)
			}
		}
		if check := checks[name]; check != nil {
			if err := check(flat(args, t.IsVariadic())); err != nil {
				return refuse(err)
			}
		}
		var results []reflect.Value
		if t.IsVariadic() {
			results = f.CallSlice(args)
		} else {
			results = f.Call(args)
		}
		if budget = maxValue; !measure(results[0], &budget) {
			return refuse(errTooLarge)
		}
		if len(results) == 1 {
			results = append(results, reflect.Zero(errorType))
		}
		return results
	}).Interface()
}

// flat spreads the last argument of a variadic function.
func flat(args []reflect.Value, variadic bool) []any {
	var out []any
	for i, a := range args {
		if variadic && i == len(args)-1 {
			for j := range a.Len() {
				out = append(out, a.Index(j).Interface())
			}
			continue
		}
		out = append(out, a.Interface())
	}
	return out
}

func number(v any) int {
	r := reflect.ValueOf(v)
	switch {
	case r.IsValid() && r.CanInt():
		return int(min(max(r.Int(), -1<<40), 1<<40))
	case r.IsValid() && r.CanFloat():
		return int(min(max(r.Float(), -1<<40), 1<<40))
	case r.IsValid() && r.Kind() == reflect.String: // sprig reads numbers from texts
		var n int
		_, _ = fmt.Sscan(r.String(), &n)
		return min(max(n, -1<<40), 1<<40)
	}
	return 0
}

func within(n, most int) error {
	if n > most || -n > most {
		return fmt.Errorf("asks for %d, at most %d are allowed", n, most)
	}
	return nil
}

// product refuses a result of a times b bytes.
func product(a, b int) error {
	if a > 0 && b > maxValue/a {
		return errTooLarge
	}
	return nil
}

func counted(args []any) error {
	for _, a := range args {
		if err := within(number(a), maxCount); err != nil {
			return err
		}
	}
	return nil
}

func random(args []any) error { return within(number(args[0]), maxRandom) }

func indented(args []any) error {
	return product(strings.Count(fmt.Sprint(args[1]), "\n")+1, max(0, number(args[0]))+1)
}

func replaced(args []any) error { // old, new, text
	text := fmt.Sprint(args[2])
	return product(strings.Count(text, fmt.Sprint(args[0]))+1, len(fmt.Sprint(args[1]))+1)
}

func rewritten(args []any) error { // expression, text, replacement
	return product(len(fmt.Sprint(args[1]))+1, len(fmt.Sprint(args[2]))+1)
}

func wrapped(args []any) error { // width, separator, text
	return product(len(fmt.Sprint(args[2]))+1, len(fmt.Sprint(args[1]))+1)
}

func length(v any) int {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Interface || r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	switch r.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.String:
		return r.Len()
	}
	return 1
}

// maxPairs bounds comparisons of all with all.
const maxPairs = 4_000_000

func paired(args []any) error {
	n := length(args[0])
	if m := max(n, len(args)); n*m > maxPairs {
		return fmt.Errorf("compares %d elements with %d", n, m)
	}
	return nil
}

var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{5,}|\*)`)

func formatted(args []any) error {
	if format, _ := args[0].(string); wide.MatchString(format) {
		return fmt.Errorf("a width of a format is given by %q, or exceeds %d", "*", maxWidth)
	}
	return nil
}

// checks look at the arguments of functions whose cost or result these do not
// bound themselves.
var checks = map[string]func([]any) error{
	"repeat": func(args []any) error { return product(max(0, number(args[0])), len(fmt.Sprint(args[1]))) },
	"until":  counted, "untilStep": counted, "seq": counted,
	"randAlpha": random, "randAlphaNum": random, "randAscii": random, "randNumeric": random, "randBytes": random,
	"indent": indented, "nindent": indented, "replace": replaced, "wrapWith": wrapped,
	"regexReplaceAll": rewritten, "regexReplaceAllLiteral": rewritten, "mustRegexReplaceAll": rewritten, "mustRegexReplaceAllLiteral": rewritten,
	"join":   func(args []any) error { return product(length(args[1]), len(fmt.Sprint(args[0]))+1) },
	"printf": formatted, "uniq": paired, "mustUniq": paired, "without": paired, "mustWithout": paired,
}

// limited are the functions with their limits, and the engine's own that make
// texts.
func limited(functions gotemplate.FuncMap) gotemplate.FuncMap {
	functions["print"], functions["println"], functions["printf"] = fmt.Sprint, fmt.Sprintln, fmt.Sprintf
	functions["html"], functions["js"], functions["urlquery"] = gotemplate.HTMLEscaper, gotemplate.JSEscaper, gotemplate.URLQueryEscaper
	out := gotemplate.FuncMap{}
	for name, f := range functions {
		out[name] = limit(name, f)
	}
	return out
}
