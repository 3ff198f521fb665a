package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// object is JSON of the OpenAPI document.
type object = map[string]any

// contract is the OpenAPI document as a server: it refuses what is not in it,
// and answers with everything that is.
type contract struct {
	paths, definitions object
	// without answers that an operation is not there.
	without string
	used    map[string]bool
	wrong   []string
	// accepted and refused are keys of the bodies of one call.
	accepted, refused map[string]bool
}

func readContract(t *testing.T) *contract {
	t.Helper()
	raw, err := os.ReadFile("../../../config/api/swagger.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Paths, Definitions object }
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return &contract{paths: d.Paths, definitions: d.Definitions, used: map[string]bool{}}
}

func (c *contract) says(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// RoundTrip answers a request as the document says.
func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, body string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	}
	template, operation := c.operation(r)
	if operation == nil {
		c.says("%s %s is not in the document", r.Method, r.URL.EscapedPath())
		return answer(http.StatusNotFound, `{"code":5,"message":"not found"}`), nil
	}
	if c.without != "" && strings.HasSuffix(template, c.without) {
		return answer(http.StatusNotImplemented, `{"code":12,"message":"not implemented"}`), nil
	}
	c.used[r.Method+" "+template] = true
	if err := c.check(r, template, operation); err != nil {
		return nil, err
	}
	full := c.instance(dig(operation, "responses", "200", "schema"), nil)
	message, _ := full.(object)
	delete(message, "error") // of a stream
	lines := []any{full}
	if result, ok := message["result"].(object); ok && result["last"] != nil {
		begin := maps.Clone(result)
		begin["last"] = false
		lines = []any{object{"result": begin}, full}
	}
	var out strings.Builder
	for _, l := range lines {
		raw, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		out.WriteString(string(raw) + "\n")
	}
	return answer(http.StatusOK, out.String()), nil
}

// operation finds the path of a request; the last parameter of a path may take
// what is left of it.
func (c *contract) operation(r *http.Request) (string, object) {
	have := strings.Split(r.URL.EscapedPath(), "/")
	best, most := "", -1
	for template := range c.paths {
		want := strings.Split(template, "/")
		if len(want) > len(have) || len(want) < len(have) && !strings.HasPrefix(want[len(want)-1], "{") || dig(c.paths, template, strings.ToLower(r.Method)) == nil {
			continue
		}
		words, fits := 0, true
		for i, w := range want {
			if !strings.HasPrefix(w, "{") {
				words++
				fits = fits && w == have[i]
			}
		}
		if fits && words > most {
			best, most = template, words
		}
	}
	return best, dig(c.paths, best, strings.ToLower(r.Method))
}

func dig(o object, keys ...string) object {
	for _, k := range keys {
		o, _ = o[k].(object)
	}
	return o
}

// check refuses queries and fields that the document does not have.
func (c *contract) check(r *http.Request, template string, operation object) error {
	queries := map[string]bool{}
	var body object
	parameters, _ := operation["parameters"].([]any)
	for _, p := range parameters {
		one, _ := p.(object)
		name, _ := one["name"].(string)
		switch one["in"] {
		case "query":
			queries[name] = true
		case "body":
			body = dig(one, "schema")
		}
	}
	for q := range r.URL.Query() {
		if !queries[q] {
			c.says("%s %s: query %s is not in the document", r.Method, template, q)
		}
	}
	if r.Body == nil {
		return nil
	}
	for messages := json.NewDecoder(r.Body); ; { // uploads are several, a line each
		var sent any
		switch err := messages.Decode(&sent); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if body == nil {
			c.says("%s %s takes no body", r.Method, template)
		}
		c.fields(body, sent)
	}
}

func (c *contract) resolve(schema object) (object, string) {
	ref, _ := schema["$ref"].(string)
	if ref == "" {
		return schema, ""
	}
	name := strings.TrimPrefix(ref, "#/definitions/")
	return dig(c.definitions, name), name
}

// fields compares what was sent with a schema.
func (c *contract) fields(schema object, sent any) {
	schema, _ = c.resolve(schema)
	switch v := sent.(type) {
	case []any:
		for _, one := range v {
			c.fields(dig(schema, "items"), one)
		}
	case object:
		properties := dig(schema, "properties")
		for key, one := range v {
			switch {
			case dig(properties, key) != nil:
				c.accepted[key] = true
				c.fields(dig(properties, key), one)
			case schema["additionalProperties"] != nil:
				c.fields(dig(schema, "additionalProperties"), one)
			case len(properties) > 0:
				c.refused[key] = true
			}
		}
	}
}

// instance is a value that has everything a schema names. Definitions that hold
// themselves end at the second time.
func (c *contract) instance(schema object, above []string) any {
	schema, name := c.resolve(schema)
	if name != "" {
		if slices.Contains(above, name) {
			return nil
		}
		above = append(slices.Clone(above), name)
	}
	switch schema["type"] {
	case "string":
		switch schema["format"] {
		case "date-time":
			return "2026-01-02T03:04:05Z"
		case "byte":
			return "eA=="
		case "int-or-string":
			return "1"
		}
		return "1s" // a text, a duration, a quantity
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "array":
		if one := c.instance(dig(schema, "items"), above); one != nil {
			return []any{one}
		}
		return nil
	}
	out := object{}
	for key := range dig(schema, "properties") {
		if one := c.instance(dig(schema, "properties", key), above); one != nil {
			out[key] = one
		}
	}
	if more := dig(schema, "additionalProperties"); more != nil {
		if one := c.instance(more, above); one != nil {
			out["key"] = one
		}
	}
	if len(out) == 0 {
		return object{"any": "thing"}
	}
	return out
}

// filled is a value of a type with something in every field.
func filled(t reflect.Type, above []reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch x := v.Addr().Interface().(type) {
	case *metav1.Time:
		x.Time = time.Unix(1_800_000_000, 0)
		return v
	case *runtime.RawExtension:
		x.Raw = []byte(`{"any":"thing"}`)
		return v
	case *apiextensionsv1.JSON:
		x.Raw = []byte(`{"any":"thing"}`)
		return v
	case *metav1.FieldsV1:
		x.SetRawBytes([]byte(`{"any":"thing"}`))
		return v
	case *json.RawMessage:
		*x = []byte(`{"any":"thing"}`)
		return v
	}
	if slices.Contains(above, t) {
		return v
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString("1s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem(), above))
	case reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem(), above)))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(filled(t.Key(), above), filled(t.Elem(), above))
	case reflect.Struct:
		above = append(slices.Clone(above), t)
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(filled(t.Field(i).Type, above))
			}
		}
	}
	return v
}

// fields of our types, as Type.Field.
type ledger struct {
	// sent are in the document of some request, refused in none of one that had
	// them; answered came in an answer, empty did not.
	sent, refused, answered, empty map[string]bool
}

func name(t reflect.Type, f reflect.StructField) string { return t.Name() + "." + f.Name }

// look notes which fields of our types an answer with everything has filled.
func (l *ledger) look(at string, v reflect.Value) (empty []string) {
	t := v.Type()
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		switch {
		case v.IsZero() || t.Kind() != reflect.Pointer && v.Len() == 0:
			return []string{at}
		case t.Kind() == reflect.Pointer:
			return l.look(at, v.Elem())
		case t.Kind() == reflect.Slice:
			return l.look(at, v.Index(0))
		}
		return nil
	case reflect.Struct:
		if t.Name() != "" && t.PkgPath() != reflect.TypeFor[Client]().PkgPath() {
			return nil // both sides have the same type
		}
		for i := range t.NumField() {
			n := name(t, t.Field(i))
			if len(l.look(n, v.Field(i))) > 0 {
				l.empty[n] = true
			} else {
				l.answered[n] = true
			}
		}
		return nil
	}
	if v.IsZero() {
		return []string{at}
	}
	return nil
}

// note says of the fields of a type that was sent whether the document has them.
func (l *ledger) note(t reflect.Type, accepted, refused map[string]bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[Client]().PkgPath() {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if accepted[key] {
			l.sent[name(t, f)] = true
		}
		if refused[key] {
			l.refused[name(t, f)] = true
			delete(refused, key)
		}
		l.note(f.Type, accepted, refused)
	}
}

// notCalls are methods that ask no operation of the API.
var notCalls = []string{"Address", "HTTP", "Logout", "PlainText", "Token"}

// TestContract makes every call of the client, with everything set that it can
// send, and answers with everything that the OpenAPI document has: what the
// client asks, sends and reads is in the document, which is made from the
// handlers.
func TestContract(t *testing.T) {
	t.Parallel()
	c := readContract(t)
	client, err := New(Options{Server: "x", Transport: c, Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	verbs := []any{}
	for _, verb := range rollout.Verbs {
		verbs = append(verbs, rollout.Ask{Verb: verb, Rollout: 1, Step: "1", Reason: "x"})
	}
	l := &ledger{sent: map[string]bool{}, refused: map[string]bool{}, answered: map[string]bool{}, empty: map[string]bool{}}
	calls := 0
	all := reflect.TypeOf(client)
	for i := range all.NumMethod() {
		m := all.Method(i)
		if slices.Contains(notCalls, m.Name) {
			continue
		}
		calls++
		alternatives := []any{nil}
		if m.Name == "Steer" {
			alternatives = verbs
		}
		for _, last := range alternatives {
			c.call(t, client, m, last, l)
		}
	}
	c.without = "/v2"
	if err := client.RunAction(t.Context(), App{Name: "a"}, ResourceRef{Kind: "k"}, "restart"); err != nil {
		t.Error(err)
	}
	for _, w := range c.wrong {
		t.Error(w)
	}
	delete(l.empty, "LogEntry.Last") // Logs itself reads it, and would end with an error without it
	for f := range l.empty {
		if !l.answered[f] && !l.sent[f] {
			t.Errorf("%s is read and never answered: the document does not have it", f)
		}
	}
	for f := range l.refused {
		if !l.answered[f] && !l.sent[f] {
			t.Errorf("%s is sent and never read by the server: the document does not have it", f)
		}
	}
	t.Logf("%d methods, %d operations of the document, %d fields answered and %d sent", calls, len(c.used), len(l.answered), len(l.sent))
	if calls < 60 || len(c.used) < 60 || len(l.answered) < 100 || len(l.sent) < 50 {
		t.Error("that is little: are methods, operations and fields found?")
	}
}

// call calls a method with everything set, and notes what was sent and what
// came back.
func (c *contract) call(t *testing.T, client *Client, m reflect.Method, last any, l *ledger) {
	t.Helper()
	c.accepted, c.refused = map[string]bool{}, map[string]bool{}
	args := []reflect.Value{reflect.ValueOf(client), reflect.ValueOf(t.Context())}
	check := func(v reflect.Value) {
		for _, gap := range l.look(m.Name, v) {
			t.Errorf("%s gives nothing: the document does not have it", gap)
		}
	}
	for i := 2; i < m.Type.NumIn(); i++ {
		in := m.Type.In(i)
		switch {
		case in.Kind() == reflect.Func:
			args = append(args, reflect.MakeFunc(in, func(given []reflect.Value) []reflect.Value {
				check(given[0])
				if m.Name == "Logs" { // its last message ends it
					return []reflect.Value{reflect.Zero(reflect.TypeFor[error]())}
				}
				return []reflect.Value{reflect.ValueOf(&errEnough).Elem()}
			}))
		case i == m.Type.NumIn()-1 && last != nil:
			args = append(args, reflect.ValueOf(last))
		default:
			args = append(args, filled(in, nil))
		}
	}
	for _, result := range m.Func.Call(args) {
		if err, ok := result.Interface().(error); ok && err != nil {
			t.Errorf("%s: %v", m.Name, err)
		} else if result.Type() != reflect.TypeFor[error]() {
			check(result)
		}
	}
	for i := 2; i < m.Type.NumIn(); i++ {
		l.note(m.Type.In(i), c.accepted, c.refused)
	}
	for key := range c.refused {
		t.Errorf("%s sends a field %s that the document does not have", m.Name, key)
	}
}
