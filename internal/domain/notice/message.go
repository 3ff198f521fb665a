package notice

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Renderer renders one text with values, bounded in time and output, and without
// access to anything else.
type Renderer interface {
	Render(text string, values map[string]any, options []string) (string, error)
}

// Message is a rendered template: message, and sections for services.
type Message map[string]any

// Bounds of a message: its texts, and all that they say, in bytes.
const (
	maxTexts   = 500
	maxMessage = 1 << 20
	maxDepth   = 20
)

// Render renders templates for a destination and merges them in order: later
// ones win (spec/observability.md §4.2). It does not change them. Errors name
// the template and the field. Whoever calls bounds the time by ctx.
func Render(ctx context.Context, all []Template, s *Subject, to Destination, r Renderer) (Message, error) {
	w := writer{ctx: ctx, renderer: r, values: maps.Clone(s.variables())}
	w.values["serviceType"], w.values["recipient"] = to.Service, to.Recipient
	out := map[string]any{}
	for _, t := range all {
		rendered, err := w.render("", map[string]any(t), 0)
		if err != nil {
			return nil, err
		}
		merge(out, rendered.(map[string]any)) //nolint:forcetypeassert // a map becomes a map
	}
	return out, nil
}

// Destination is whom a message is for.
type Destination struct {
	// Service is the name of a service, Recipient its address there.
	Service, Recipient string
}

// writer renders one message.
type writer struct {
	ctx         context.Context //nolint:containedctx // of one message
	renderer    Renderer
	values      map[string]any
	texts, size int
}

func (w *writer) render(path string, value any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: is nested more than %d deep", path, maxDepth)
	}
	switch v := value.(type) {
	case string:
		return w.text(path, v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := key
			if path != "" {
				below = path + "." + key
			}
			var err error
			if out[key], err = w.render(below, v[key], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = w.render(fmt.Sprintf("%s[%d]", path, i), v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

func (w *writer) text(path, text string) (string, error) {
	if err := w.ctx.Err(); err != nil {
		return "", fmt.Errorf("%s: takes too long", path)
	}
	if w.texts++; w.texts > maxTexts {
		return "", fmt.Errorf("%s: the message has more than %d texts", path, maxTexts)
	}
	out, err := w.renderer.Render(text, w.values, nil)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if w.size += len(out); w.size > maxMessage {
		return "", fmt.Errorf("%s: the message has more than %d bytes", path, maxMessage)
	}
	return out, nil
}

// merge puts sections of a later template over those of earlier ones.
func merge(into, from map[string]any) {
	for key, value := range from {
		below, both := into[key].(map[string]any)
		if next, ok := value.(map[string]any); ok && both {
			merge(below, next)
			continue
		}
		into[key] = value
	}
}
