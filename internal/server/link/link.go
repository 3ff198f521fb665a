// Package link makes deep links: what operators declare in argocd-cm under
// application.links, resource.links and project.links, filled in for one object
// (spec/config.md §2.1). Only http and https leave this package.
package link

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/server/store"
)

// Info is a link.
type Info struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	IconClass   string `json:"iconClass,omitempty"`
}

// Response is an answer with many links.
type Response struct {
	Items []Info `json:"items"`
}

// declared is an entry of a setting.
type declared struct {
	Title       string  `json:"title"`
	URL         string  `json:"url"`
	Description *string `json:"description"`
	IconClass   *string `json:"icon.class"`
	Condition   *string `json:"if"`
}

// Render fills a template in.
type Render func(text string, values map[string]any, options []string) (string, error)

// Maker makes links.
type Maker struct {
	Hub    *store.Hub
	Render Render
	Log    *slog.Logger
}

// Bounds of links.
const (
	maxLinks     = 100
	maxURL       = 8 << 10
	maxNodes     = 1000
	memoryBudget = 10_000
)

// Make fills in the links of a setting. Values that are Kubernetes objects lose
// what may be secret. An entry whose condition does not hold, or that cannot be
// made, is left out; the latter is logged.
func (m *Maker) Make(_ context.Context, setting string, main any, others map[string]any) *Response {
	out := &Response{Items: []Info{}}
	text := m.Hub.Config("argocd-cm")[setting]
	if text == "" {
		return out
	}
	var all []declared
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		m.Log.Warn("a setting of argocd-cm is no list of links", "key", setting, "error", err.Error())
		return out
	}
	values := map[string]any{}
	for key, value := range plain(main) {
		values[key] = value
	}
	for key, value := range others {
		values[key] = plain(value)
	}
	for i, d := range all[:min(len(all), maxLinks)] {
		info, ok, err := m.one(d, values)
		if err != nil {
			m.Log.Warn("a link of argocd-cm cannot be made", "key", setting, "index", i, "error", err.Error())
		}
		if ok {
			out.Items = append(out.Items, info)
		}
	}
	return out
}

func (m *Maker) one(d declared, values map[string]any) (Info, bool, error) {
	if d.Condition != nil && !holds(*d.Condition, values) {
		return Info{}, false, nil
	}
	target, err := m.Render(d.URL, values, []string{"missingkey=default"})
	if err != nil {
		return Info{}, false, err
	}
	if !Safe(target) {
		return Info{}, false, fmt.Errorf("link %q leads to no http or https address", d.Title)
	}
	info := Info{Title: d.Title, URL: target}
	if d.Description != nil {
		info.Description = *d.Description
	}
	if d.IconClass != nil {
		info.IconClass = *d.IconClass
	}
	return info, true, nil
}

// Safe says whether an address may be a link: http or https, and nothing that a
// browser would run.
func Safe(text string) bool {
	if len(text) > maxURL {
		return false
	}
	for _, r := range text {
		if r <= 0x20 || r == 0x7f {
			return false
		}
	}
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// holds evaluates a condition; one that fails does not hold.
func holds(condition string, values map[string]any) bool {
	program, err := expr.Compile(condition, expr.Env(values), expr.AllowUndefinedVariables(), expr.MaxNodes(maxNodes))
	if err != nil {
		return false
	}
	machine := vm.VM{MemoryBudget: memoryBudget}
	answer, err := machine.Run(program, values)
	yes, isBool := answer.(bool)
	return err == nil && isBool && yes
}

// plain is an object as templates see it: without managed fields, and a Secret
// without its data.
func plain(v any) map[string]any {
	var out map[string]any
	switch o := v.(type) {
	case nil:
		return nil
	case *unstructured.Unstructured:
		out = o.DeepCopy().Object
	case map[string]any:
		out = o
	default:
		raw, err := json.Marshal(v)
		if err != nil || json.Unmarshal(raw, &out) != nil {
			return nil
		}
	}
	if out["kind"] == "Secret" {
		for _, key := range []string{"data", "stringData"} {
			delete(out, key)
		}
	}
	if meta, ok := out["metadata"].(map[string]any); ok {
		delete(meta, "managedFields")
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		}
	}
	return out
}
