package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// selection is the parameter "fields" as a tree: which parts of an answer are
// kept, or with a leading minus dropped (spec/api.md §1).
type selection struct {
	exclude bool
	root    node
}

// node is a name in the tree; a leaf has no children.
type node map[string]node

// maxFields bounds the parameter.
const maxFields = 200

func parseFields(text string) (*selection, error) {
	if text == "" {
		return nil, nil
	}
	s := &selection{root: node{}}
	text, s.exclude = strings.CutPrefix(text, "-")
	paths := strings.Split(text, ",")
	if len(paths) > maxFields {
		return nil, fault.New(fault.InvalidArgument, "parameter fields: more than %d paths", maxFields)
	}
	for _, path := range paths {
		at, leaf := s.root, false
		path = strings.TrimPrefix(strings.TrimSpace(path), "result.") // streams name their wrapper too
		for _, part := range strings.Split(path, ".") {
			if leaf = part == ""; leaf {
				break
			}
			if next, ok := at[part]; ok && len(next) == 0 { // a whole branch is named already
				leaf = true
				break
			}
			if at[part] == nil {
				at[part] = node{}
			}
			at = at[part]
		}
		if !leaf {
			clear(at)
		}
	}
	if _, list := s.root["items"]; list && !s.exclude {
		s.root["metadata"] = node{} // lists keep theirs
	}
	return s, nil
}

// encode writes the selected parts of v as JSON.
func (s *selection) encode(v any) ([]byte, error) {
	var out bytes.Buffer
	p := projector{out: &out, exclude: s.exclude}
	if err := p.value(reflect.ValueOf(v), s.root); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// projector walks a value along a tree of names; what is a leaf of the tree is
// encoded as a whole, so that a list of ten thousand objects costs what is asked
// for and not what is there.
type projector struct {
	out     *bytes.Buffer
	exclude bool
}

var marshalers = reflect.TypeFor[json.Marshaler]()

func (p *projector) value(v reflect.Value, at node) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			p.out.WriteString("null")
			return nil
		}
		v = v.Elem()
	}
	switch {
	case len(at) == 0, v.Type().Implements(marshalers), reflect.PointerTo(v.Type()).Implements(marshalers):
		return p.whole(v)
	case v.Kind() == reflect.Struct:
		return p.object(v, at)
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		return p.dictionary(v, at)
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		p.out.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				p.out.WriteByte(',')
			}
			if err := p.value(v.Index(i), at); err != nil {
				return err
			}
		}
		p.out.WriteByte(']')
		return nil
	}
	return p.whole(v)
}

func (p *projector) whole(v reflect.Value) error {
	if v.Kind() == reflect.String && plain(v.String()) {
		p.out.WriteByte('"')
		p.out.WriteString(v.String())
		p.out.WriteByte('"')
		return nil
	}
	target := v.Interface()
	if v.CanAddr() {
		target = v.Addr().Interface()
	}
	raw, err := json.Marshal(target)
	if err != nil {
		return err
	}
	p.out.Write(raw)
	return nil
}

// plain texts are JSON as they are.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// chosen says whether a name is written, and what is chosen below it.
func (p *projector) chosen(at node, name string) (node, bool) {
	below, named := at[name]
	if p.exclude {
		return below, !named || len(below) > 0
	}
	return below, named
}

func (p *projector) object(v reflect.Value, at node) error {
	p.out.WriteByte('{')
	first := true
	for _, f := range fieldsOf(v.Type()) {
		below, ok := p.chosen(at, f.name)
		if !ok {
			continue
		}
		field, err := v.FieldByIndexErr(f.index)
		if err != nil || f.omitEmpty && empty(field) {
			continue
		}
		if !first {
			p.out.WriteByte(',')
		}
		first = false
		p.out.Write(f.quoted)
		if result, ok := p.resultOf(v, f.name, below); ok {
			if err := p.value(result, node{"sync": node{}}); err != nil {
				return err
			}
			continue
		}
		if err := p.value(field, below); err != nil {
			return err
		}
	}
	p.out.WriteByte('}')
	return nil
}

// operationState is the type of status.operationState.
var operationState = reflect.TypeFor[v1alpha1.OperationState]()

// resultOf is what stands for operation.sync of an operation that has a result:
// who selects status.operationState.operation.sync is given the result of the
// sync there, as clients expect (spec/api.md §1).
func (p *projector) resultOf(v reflect.Value, field string, below node) (reflect.Value, bool) {
	if p.exclude || field != "operation" || v.Type() != operationState {
		return reflect.Value{}, false
	}
	sync, named := below["sync"]
	state, ok := v.Interface().(v1alpha1.OperationState)
	if !named || len(sync) > 0 || len(below) > 1 || !ok || state.SyncResult == nil {
		return reflect.Value{}, false
	}
	return reflect.ValueOf(struct {
		Sync *v1alpha1.SyncOperationResult `json:"sync"`
	}{state.SyncResult}), true
}

func (p *projector) dictionary(v reflect.Value, at node) error {
	kept := map[string]json.RawMessage{}
	for _, key := range v.MapKeys() {
		below, ok := p.chosen(at, key.String())
		if !ok {
			continue
		}
		inner := projector{out: &bytes.Buffer{}, exclude: p.exclude}
		if err := inner.value(v.MapIndex(key), below); err != nil {
			return err
		}
		kept[key.String()] = inner.out.Bytes()
	}
	raw, err := json.Marshal(kept)
	p.out.Write(raw)
	return err
}

// empty is what omitempty leaves out.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr, reflect.Float32, reflect.Float64, reflect.Interface, reflect.Pointer:
		return v.IsZero()
	}
	return false
}

type jsonField struct {
	name      string
	quoted    []byte
	index     []int
	omitEmpty bool
}

var fieldCache sync.Map // reflect.Type to []jsonField

// fieldsOf lists the fields of a struct as JSON has them, inlined ones included.
func fieldsOf(t reflect.Type) []jsonField {
	if known, ok := fieldCache.Load(t); ok {
		return known.([]jsonField)
	}
	var out []jsonField
	for i := range t.NumField() {
		f := t.Field(i)
		tag, hasTag := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && (!hasTag || name == "") && f.Type.Kind() == reflect.Struct:
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				out = append(out, inner)
			}
			continue
		case name == "":
			name = f.Name
		}
		quoted, _ := json.Marshal(name) // a text never fails
		out = append(out, jsonField{name: name, quoted: append(quoted, ':'), index: []int{i}, omitEmpty: strings.Contains(options, "omitempty")})
	}
	fieldCache.Store(t, out)
	return out
}
