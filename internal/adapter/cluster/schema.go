package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/sluice-cd/sluice/internal/domain/diff"
)

// published is what a cluster says of the kinds of one group and version.
type published struct {
	types  managedfields.TypeConverter
	shapes map[schema.GroupVersionKind]*diff.Shape
	err    error
	// at is when it was asked for; done is closed when the rest is known.
	at   time.Time
	done chan struct{}
}

// Schema gives the schema of a kind as the cluster publishes it, for
// predictions and checks in memory. It is read once and again after kinds
// were learnt.
func (c *Connection) Schema(ctx context.Context, gvk schema.GroupVersionKind) (diff.Schema, error) {
	gv := gvk.GroupVersion()
	c.mu.Lock()
	p := c.schemas[gv]
	if p == nil {
		p = &published{at: c.fleet.options.Clock.Now(), done: make(chan struct{})}
		c.schemas[gv] = p
		go c.publish(gv, p)
	}
	c.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, schemaTimeout)
	defer cancel()
	select {
	case <-bounded.Done():
		return diff.Schema{}, fmt.Errorf("schema of %s: %w", gv, bounded.Err())
	case <-p.done:
	}
	if p.err != nil {
		return diff.Schema{}, p.err
	}
	return diff.Schema{Types: p.types, Shape: p.shapes[gvk]}, nil
}

// schemaAge is how old a schema may be that refuses an object.
const schemaAge = 5 * time.Second

// FreshSchema is Schema as the cluster publishes it now: what speaks against an
// object may be out of date, because somebody else has changed the definition
// of its kind.
func (c *Connection) FreshSchema(ctx context.Context, gvk schema.GroupVersionKind) (diff.Schema, error) {
	gv := gvk.GroupVersion()
	c.mu.Lock()
	if p := c.schemas[gv]; p != nil && c.fleet.options.Clock.Since(p.at) >= schemaAge {
		delete(c.schemas, gv)
	}
	c.mu.Unlock()
	return c.Schema(ctx, gvk)
}

// publish reads the schema of a group and version; a failure to reach the
// cluster is not remembered.
func (c *Connection) publish(gv schema.GroupVersion, p *published) {
	defer close(p.done)
	if p.err = c.readSchema(gv, p); Unreachable(p.err) {
		c.mu.Lock()
		if c.schemas[gv] == p {
			delete(c.schemas, gv)
		}
		c.mu.Unlock()
	}
}

func (c *Connection) readSchema(gv schema.GroupVersion, p *published) (err error) {
	defer func() { // whoever may define kinds writes what is parsed here
		if r := recover(); r != nil {
			err = fmt.Errorf("schema of %s: not readable: %v", gv, r)
		}
	}()
	paths, err := c.discovery.OpenAPIV3().Paths()
	if err != nil {
		return fmt.Errorf("schema of %s: %w", gv, err)
	}
	path := "apis/" + gv.String()
	if gv.Group == "" {
		path = "api/" + gv.Version
	}
	document, ok := paths[strings.TrimSuffix(path, "/")]
	if !ok {
		return fmt.Errorf("schema of %s: the cluster publishes none", gv)
	}
	raw, err := document.Schema("application/json")
	if err != nil {
		return fmt.Errorf("schema of %s: %w", gv, err)
	}
	var doc struct { // of the whole document only the types are read
		Components *spec3.Components `json:"components"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("schema of %s: not readable: %w", gv, err)
	}
	if doc.Components == nil {
		return fmt.Errorf("schema of %s: holds no types", gv)
	}
	p.shapes = shapes(doc.Components.Schemas, builtIn(gv.Group))
	p.types, err = managedfields.NewTypeConverter(doc.Components.Schemas, false)
	return err
}

// builtIn says that a group may be one of Kubernetes itself.
func builtIn(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// neverEmpty are fields without which the API server refuses an object of a
// built-in kind that requires them. What those kinds publish as required it
// mostly fills in or takes as zero, such as roleRef.apiGroup and the value of a
// PriorityClass; of custom resources it enforces every required field.
var neverEmpty = []string{"containers", "jobTemplate", "kind", "name", "schedule", "selector", "template"}

// shapes reduces schemas to what a check without types needs.
func shapes(all map[string]*spec.Schema, builtIn bool) map[schema.GroupVersionKind]*diff.Shape {
	s := shaper{all: all, builtIn: builtIn, named: map[string]*diff.Shape{}}
	out := map[schema.GroupVersionKind]*diff.Shape{}
	for name, one := range all {
		kinds, _ := one.Extensions["x-kubernetes-group-version-kind"].([]any)
		for _, k := range kinds {
			m, _ := k.(map[string]any)
			group, _ := m["group"].(string)
			version, _ := m["version"].(string)
			kind, _ := m["kind"].(string)
			out[schema.GroupVersionKind{Group: group, Version: version, Kind: kind}] = s.ref(name)
		}
	}
	return out
}

type shaper struct {
	all     map[string]*spec.Schema
	builtIn bool
	named   map[string]*diff.Shape
}

// ref is the shape of a named schema; it may be asked for while it is made.
func (s *shaper) ref(name string) *diff.Shape {
	if known, ok := s.named[name]; ok {
		return known
	}
	from := s.all[name]
	if from == nil {
		return nil
	}
	out := &diff.Shape{}
	s.named[name] = out
	s.fill(out, from)
	return out
}

// of is the shape of a schema, nil when it asks for nothing.
func (s *shaper) of(from *spec.Schema) *diff.Shape {
	if text := from.Ref.String(); text != "" {
		return s.ref(text[strings.LastIndex(text, "/")+1:])
	}
	if len(from.AllOf) == 1 && from.Type == nil { // how a default stands beside a reference
		return s.of(&from.AllOf[0])
	}
	out := &diff.Shape{}
	s.fill(out, from)
	if len(out.Required) == 0 && len(out.Fields) == 0 && out.Items == nil && out.Values == nil && len(out.Enum) == 0 {
		return nil
	}
	return out
}

func (s *shaper) fill(out *diff.Shape, from *spec.Schema) {
	out.Required = slices.Clone(from.Required)
	out.Required = slices.DeleteFunc(out.Required, func(f string) bool {
		p, ok := from.Properties[f]
		return ok && p.Default != nil || s.builtIn && !slices.Contains(neverEmpty, f) // the API server fills it in
	})
	slices.Sort(out.Required)
	for name, p := range from.Properties {
		if shape := s.of(&p); shape != nil {
			if out.Fields == nil {
				out.Fields = map[string]*diff.Shape{}
			}
			out.Fields[name] = shape
		}
	}
	if from.Items != nil && from.Items.Schema != nil {
		out.Items = s.of(from.Items.Schema)
	}
	if from.AdditionalProperties != nil && from.AdditionalProperties.Schema != nil {
		out.Values = s.of(from.AdditionalProperties.Schema)
	}
	if !from.Type.Contains("string") {
		return
	}
	for _, v := range from.Enum {
		if text, ok := v.(string); ok {
			out.Enum = append(out.Enum, text)
		}
	}
}
