package render

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Inputs are facts, besides source and tree, that a render has used.
type Inputs uint

// The facts a render can use.
const (
	UsesName Inputs = 1 << iota
	UsesInstance
	UsesNamespace
	UsesProject
	UsesRevision
	UsesTargetRevision
	// UsesCluster is the Kubernetes version and the API versions.
	UsesCluster
)

// variables of the build environment (spec/application.md §3).
var variables = map[string]struct {
	used  Inputs
	value func(Request) string
}{
	"ARGOCD_APP_NAME":                   {UsesInstance, func(r Request) string { return r.App.Instance }},
	"ARGOCD_APP_NAMESPACE":              {UsesNamespace, func(r Request) string { return r.App.Namespace }},
	"ARGOCD_APP_PROJECT_NAME":           {UsesProject, func(r Request) string { return r.App.Project }},
	"ARGOCD_APP_REVISION":               {UsesRevision, func(r Request) string { return r.Revision }},
	"ARGOCD_APP_REVISION_SHORT":         {UsesRevision, func(r Request) string { return r.Revision[:min(7, len(r.Revision))] }},
	"ARGOCD_APP_REVISION_SHORT_8":       {UsesRevision, func(r Request) string { return r.Revision[:min(8, len(r.Revision))] }},
	"ARGOCD_APP_SOURCE_REPO_URL":        {0, func(r Request) string { return r.Source.RepoURL }},
	"ARGOCD_APP_SOURCE_PATH":            {0, func(r Request) string { return r.Source.Path }},
	"ARGOCD_APP_SOURCE_TARGET_REVISION": {UsesTargetRevision, func(r Request) string { return r.Source.TargetRevision }},
}

// substitute replaces $NAME and ${NAME}; $$ is a dollar, unknown names vanish.
func (j *job) substitute(text string) string {
	return Expand(text, func(name string) string {
		v, known := variables[name]
		if !known {
			return ""
		}
		j.used |= v.used
		return v.value(j.Request)
	})
}

// Expand replaces $NAME and ${NAME} by what value gives; $$ is a dollar.
func Expand(text string, value func(name string) string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if strings.HasPrefix(rest, "$") {
			b.WriteByte('$')
			text = rest[1:]
			continue
		}
		name, width := variable(rest)
		if width == 0 {
			b.WriteByte('$')
		} else {
			b.WriteString(value(name))
		}
		text = rest[width:]
	}
}

// BuildEnvironment is the build environment of a request, in the order in
// which plugins get it (spec/wire.md §4.6).
func BuildEnvironment(r Request) [][2]string {
	var out [][2]string
	for _, name := range []string{
		"ARGOCD_APP_NAME", "ARGOCD_APP_NAMESPACE", "ARGOCD_APP_PROJECT_NAME", "ARGOCD_APP_REVISION", "ARGOCD_APP_REVISION_SHORT",
		"ARGOCD_APP_REVISION_SHORT_8", "ARGOCD_APP_SOURCE_REPO_URL", "ARGOCD_APP_SOURCE_PATH", "ARGOCD_APP_SOURCE_TARGET_REVISION",
	} {
		out = append(out, [2]string{name, variables[name].value(r)})
	}
	return out
}

// variable reads NAME or {NAME} at the start of text.
func variable(text string) (name string, width int) {
	if strings.HasPrefix(text, "{") {
		end := strings.IndexByte(text, '}')
		if end < 0 {
			return "", 0
		}
		return text[1:end], end + 1
	}
	n := 0
	for n < len(text) && (text[n] == '_' || text[n] >= 'A' && text[n] <= 'Z' || text[n] >= 'a' && text[n] <= 'z' || n > 0 && text[n] >= '0' && text[n] <= '9') {
		n++
	}
	return text[:n], n
}

// overridePrefix starts the names of files that change a source in place.
const overridePrefix = ".argocd-source"

// override merges the files .argocd-source.yaml and .argocd-source-<app>.yaml
// of the folder over the source; where the source is they cannot change.
func (j *job) override() error {
	entries, err := List(j.Tree, j.Source.Path, askMarkers)
	if err != nil {
		return err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e tree.Entry) bool { return e.Name == name })
	}
	if slices.ContainsFunc(entries, func(e tree.Entry) bool { return strings.HasPrefix(e.Name, overridePrefix+"-") }) {
		j.used |= UsesInstance
	}
	for _, base := range []string{overridePrefix + ".yaml", overridePrefix + "-" + j.App.Instance + ".yaml"} {
		if !has(base) {
			continue
		}
		if err := j.mergeOverride(path.Join(j.Source.Path, base)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) mergeOverride(name string) error {
	content, err := j.Tree.ReadFile(name)
	if err != nil {
		return err
	}
	patch, err := yaml.YAMLToJSON(content)
	if err != nil {
		return fmt.Errorf("%s: not valid YAML: %w", name, err)
	}
	source, err := json.Marshal(j.Source)
	if err != nil {
		return fmt.Errorf("spec.source: %w", err)
	}
	merged, err := jsonpatch.MergePatch(source, patch)
	if err != nil {
		return fmt.Errorf("%s: is not a part of a source: %w", name, err)
	}
	var next v1alpha1.ApplicationSource
	if err := json.Unmarshal(merged, &next); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	was := j.Source
	next.RepoURL, next.Path, next.Chart, next.TargetRevision = was.RepoURL, was.Path, was.Chart, was.TargetRevision
	j.Source = next
	return nil
}
