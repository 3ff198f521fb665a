package appset

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// ProjectChoice says what may give Applications of a set another project than
// the text of spec.template.spec.project (spec/applicationset.md §5.6): a
// parameter in that text, or the template of a generator. Empty when nothing
// does: then who may make the set for its project makes none for others.
// templatePatch cannot.
func ProjectChoice(set *v1alpha1.ApplicationSet) string {
	project := set.Spec.Template.Spec.Project
	if strings.Contains(project, "{{") {
		return fmt.Sprintf("spec.template.spec.project is %q", project)
	}
	for i, entry := range set.Spec.Generators {
		for _, g := range kinds(entry) {
			over := templateOf(g)
			if over == nil || len(over.Raw) == 0 {
				continue
			}
			var t struct {
				Spec struct {
					Project string `json:"project"`
				} `json:"spec"`
			}
			if err := json.Unmarshal(over.Raw, &t); err != nil {
				return fmt.Sprintf("spec.generators[%d] has a template that cannot be read", i)
			}
			if t.Spec.Project != "" && t.Spec.Project != project {
				return fmt.Sprintf("spec.generators[%d].%s.template.spec.project is %q", i, Kinds(g)[0], t.Spec.Project)
			}
		}
	}
	return ""
}

// templateOf is the template of the generator itself.
func templateOf(g v1alpha1.ApplicationSetGenerator) *v1alpha1.FreeForm {
	switch {
	case g.List != nil:
		return g.List.Template
	case g.Clusters != nil:
		return g.Clusters.Template
	case g.Git != nil:
		return g.Git.Template
	case g.SCMProvider != nil:
		return g.SCMProvider.Template
	case g.PullRequest != nil:
		return g.PullRequest.Template
	case g.ClusterDecisionResource != nil:
		return g.ClusterDecisionResource.Template
	case g.Plugin != nil:
		return g.Plugin.Template
	case g.Matrix != nil:
		return g.Matrix.Template
	case g.Merge != nil:
		return g.Merge.Template
	}
	return nil
}
