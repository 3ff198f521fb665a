package appset

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Rendered is the result of an evaluation.
type Rendered struct {
	// Applications by name order, valid or not.
	Applications []v1alpha1.Application
	// Errors name the parameter sets that could not be rendered; the others
	// are in Applications.
	Errors []error
	// Invalid says by name why an Application must not be written.
	Invalid map[string]string
	// Incomplete says what the generators lack: Applications that are not in
	// this answer may still be wanted.
	Incomplete []string
	// Doubts say why this answer, though complete, looks like a mistake of its
	// source: nothing is deleted by it without a person's word.
	Doubts []string
	// Notes say which generator labels do not reach an Application, for the
	// debug log.
	Notes []string
}

// Evaluate runs all generators and renders the template. An error of a
// generator is an error of the whole; one of a parameter set is not.
func Evaluate(set *v1alpha1.ApplicationSet, w World) (*Rendered, error) {
	out := &Rendered{Invalid: map[string]string{}}
	e := &evaluation{World: w, goMode: set.Spec.GoTemplate, options: set.Spec.GoTemplateOptions, incomplete: &out.Incomplete, doubts: &out.Doubts, spent: &spent{}}
	for i, entry := range set.Spec.Generators {
		for _, g := range kinds(entry) {
			if err := e.entry(set, i, g, out); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(out.Applications, func(a, b v1alpha1.Application) int { return cmp.Compare(a.Name, b.Name) })
	out.check()
	return out, nil
}

// Parameters lists what the generators of the set yield, in their order, before
// any template is rendered.
func Parameters(set *v1alpha1.ApplicationSet, w World) ([]Params, error) {
	var incomplete, doubts []string
	e := &evaluation{World: w, goMode: set.Spec.GoTemplate, options: set.Spec.GoTemplateOptions, incomplete: &incomplete, doubts: &doubts, spent: &spent{}}
	var out []Params
	for i, entry := range set.Spec.Generators {
		for _, g := range kinds(entry) {
			params, err := e.generate(generator{ApplicationSetGenerator: g})
			if err != nil {
				return nil, fmt.Errorf("spec.generators[%d]: %w", i, err)
			}
			out = append(out, params...)
		}
	}
	return out, nil
}

// Kinds names the generators of a top-level entry, as in its YAML.
func Kinds(g v1alpha1.ApplicationSetGenerator) []string {
	var out []string
	for _, k := range []struct {
		name  string
		named bool
	}{
		{"list", g.List != nil}, {"clusters", g.Clusters != nil}, {"git", g.Git != nil}, {"scmProvider", g.SCMProvider != nil},
		{"clusterDecisionResource", g.ClusterDecisionResource != nil}, {"pullRequest", g.PullRequest != nil}, {"plugin", g.Plugin != nil},
		{"matrix", g.Matrix != nil}, {"merge", g.Merge != nil},
	} {
		if k.named {
			out = append(out, k.name)
		}
	}
	return out
}

// kinds are the generators that a top-level entry names; an entry without one
// stands for itself, to be refused.
func kinds(entry v1alpha1.ApplicationSetGenerator) []v1alpha1.ApplicationSetGenerator {
	if named := split(entry); len(named) > 0 {
		return named
	}
	return []v1alpha1.ApplicationSetGenerator{entry}
}

// entry renders what one top-level generator yields.
func (e *evaluation) entry(set *v1alpha1.ApplicationSet, i int, g v1alpha1.ApplicationSetGenerator, out *Rendered) error {
	params, err := e.generate(generator{ApplicationSetGenerator: g})
	if err != nil {
		return fmt.Errorf("spec.generators[%d]: %w", i, err)
	}
	template, err := merged(set.Spec.Template, g)
	if err != nil {
		return fmt.Errorf("spec.generators[%d].template: %w", i, err)
	}
	for _, p := range params {
		if e.Stop != nil {
			if err := e.Stop(); err != nil {
				return fmt.Errorf("spec.generators[%d]: %w", i, err)
			}
		}
		e.spent.application = 0
		app, notes, err := e.application(set, template, p)
		if err != nil {
			out.Errors = append(out.Errors, fmt.Errorf("spec.generators[%d], parameters %s: %w", i, describe(p), err))
			continue
		}
		out.Applications = append(out.Applications, *app)
		out.Notes = append(out.Notes, notes...)
	}
	return nil
}

// check finds names that cannot be: doubled ones and malformed ones.
func (r *Rendered) check() {
	count := map[string]int{}
	for _, a := range r.Applications {
		count[a.Name]++
		if problems := validation.IsDNS1123Subdomain(a.Name); len(problems) > 0 {
			r.Invalid[a.Name] = fmt.Sprintf("Application name %q is not valid: %s: correct spec.template.metadata.name", a.Name, problems[0])
		}
	}
	for name, n := range count {
		if n > 1 {
			r.Invalid[name] = fmt.Sprintf("Application name %q is generated %d times: make spec.template.metadata.name unique, for example with {{name}}", name, n)
		}
	}
}

// merged lays a generator's template over the set's: what the generator's
// states wins.
func merged(base v1alpha1.ApplicationSetTemplate, g v1alpha1.ApplicationSetGenerator) (any, error) {
	over := templateOf(g)
	raw, err := json.Marshal(base)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var value map[string]any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if over == nil || len(over.Raw) == 0 {
		return value, nil
	}
	var strict v1alpha1.ApplicationSetTemplate
	if err := yaml.UnmarshalStrict(over.Raw, &strict); err != nil {
		return nil, fmt.Errorf("is not a template: %w", err)
	}
	var top map[string]any
	if err := json.Unmarshal(over.Raw, &top); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return deepMerge(nonZero(top), value), nil
}

// nonZero drops zero values: a generator's template cannot reset a field.
func nonZero(in map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		switch t := v.(type) {
		case map[string]any:
			if inner := nonZero(t); len(inner) > 0 {
				out[k] = inner
			}
		case []any:
			if len(t) > 0 {
				out[k] = t
			}
		case nil:
		case string:
			if t != "" {
				out[k] = t
			}
		case bool:
			if t {
				out[k] = t
			}
		default:
			out[k] = v
		}
	}
	return out
}

// application renders the template with one parameter set; notes say which
// labels are left out.
func (e *evaluation) application(set *v1alpha1.ApplicationSet, template any, p Params) (app *v1alpha1.Application, notes []string, err error) {
	filled := template
	if e.goMode { // functions of templates may change what they are given
		p.Values, _ = cloned(p.Values).(map[string]any)
	}
	if len(p.Values) > 0 {
		if filled, err = e.fill(template, p.Values, "template"); err != nil {
			return nil, nil, err
		}
	}
	raw, err := json.Marshal(filled)
	if err != nil {
		return nil, nil, fmt.Errorf("template: %w", err)
	}
	var rendered v1alpha1.ApplicationSetTemplate
	if err := json.Unmarshal(raw, &rendered); err != nil {
		return nil, nil, fmt.Errorf("template: %w", err)
	}
	app = &v1alpha1.Application{Spec: rendered.Spec}
	app.APIVersion, app.Kind = v1alpha1.GroupVersion.String(), v1alpha1.ApplicationKind
	app.Name, app.Labels, app.Annotations, app.Finalizers = rendered.Name, rendered.Labels, rendered.Annotations, rendered.Finalizers
	preserve := set.Spec.SyncPolicy != nil && set.Spec.SyncPolicy.PreserveResourcesOnDeletion
	if len(app.Finalizers) == 0 && !preserve && len(p.Values) > 0 {
		app.Finalizers = []string{v1alpha1.FinalizerResources}
	}
	if set.Spec.TemplatePatch != nil {
		if app, err = e.patched(app, *set.Spec.TemplatePatch, p); err != nil {
			return nil, nil, err
		}
	}
	app.Namespace = set.Namespace
	l := labeller{set: set, tracking: e.TrackingLabel}
	app.Labels, notes = l.labels(p.Labels, app.Labels)
	for i := range notes {
		notes[i] = fmt.Sprintf("application %s: %s", app.Name, notes[i])
	}
	return app, notes, nil
}

// patched applies templatePatch; it cannot change the project.
func (e *evaluation) patched(app *v1alpha1.Application, patch string, p Params) (*v1alpha1.Application, error) {
	text, err := e.render(patch, p.Values, e.options)
	if err != nil {
		return nil, fmt.Errorf("spec.templatePatch: %w", err)
	}
	change, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("spec.templatePatch: is not YAML after rendering: %w", err)
	}
	before, err := json.Marshal(app)
	if err != nil {
		return nil, fmt.Errorf("spec.templatePatch: %w", err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, change, v1alpha1.Application{})
	if err != nil {
		return nil, fmt.Errorf("spec.templatePatch: %w", err)
	}
	var out v1alpha1.Application
	if err := json.Unmarshal(after, &out); err != nil {
		return nil, fmt.Errorf("spec.templatePatch: %w", err)
	}
	out.Spec.Project = app.Spec.Project
	return &out, nil
}
