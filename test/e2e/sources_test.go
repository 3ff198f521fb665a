package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const sourceApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %[1]s}
spec:
  project: default
  source: {repoURL: %[2]q, targetRevision: %[3]q, path: %[4]s}
  destination: {name: one, namespace: %[1]s}
  syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`

func version(v string) gitserver.Files {
	return gitserver.Files{
		"plain/cm.yaml":             "{apiVersion: v1, kind: ConfigMap, metadata: {name: v}, data: {v: " + v + "}}\n",
		"kustom/kustomization.yaml": "namePrefix: k-\nresources: [cm.yaml]\nconfigMapGenerator: [{name: gen, literals: [a=" + v + "]}]\n",
		"kustom/cm.yaml":            "{apiVersion: v1, kind: ConfigMap, metadata: {name: v}, data: {v: " + v + "}}\n",
		"chart/Chart.yaml":          "{apiVersion: v2, name: chart, version: 0.1.0}\n",
		"chart/values.yaml":         "v: " + v + "\n",
		"chart/templates/cm.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: v, labels: {release: {{ .Release.Name }}}}\ndata: {v: {{ .Values.v }}}\n",
		"sets/eu/values.yaml":       "cluster: {name: one, region: eu}\nreplicas: 1\n",
		"sets/us/values.yaml":       "cluster: {name: one, region: us}\nreplicas: 2\n",
		"dirs/api/cm.yaml":          "{apiVersion: v1, kind: ConfigMap, metadata: {name: api}}\n",
		"dirs/web/cm.yaml":          "{apiVersion: v1, kind: ConfigMap, metadata: {name: web}}\n",
		"dirs/old/cm.yaml":          "{apiVersion: v1, kind: ConfigMap, metadata: {name: old}}\n",
	}
}

// TestSourcesAndSets proves on a cluster that every kind of source and of
// revision arrives, and on the hub that generators nest in both template modes.
func TestSourcesAndSets(t *testing.T) {
	r := start(t, "one:env=test;region=eu")
	for _, v := range []string{"v1.0.0", "v1.2.0", "v2.0.0"} {
		id, err := r.Repo.Commit(v, version(v))
		must(t, err)
		must(t, r.Repo.Tag(v, id, "release "+v))
	}
	head, err := r.Repo.Git("rev-parse", "HEAD")
	must(t, err)
	second, err := r.Repo.Git("rev-parse", "v1.2.0^{commit}")
	must(t, err)
	must(t, r.Launch())
	url := r.Git.URL("gitops-fleet")
	for _, c := range []struct{ name, revision, path, object, want, commit string }{
		{"branch", "main", "plain", "v", "v2.0.0", head},
		{"head", "HEAD", "plain", "v", "v2.0.0", head},
		{"tag", "v1.2.0", "plain", "v", "v1.2.0", second},
		{"range", ">=1.0.0 <2.0.0", "plain", "v", "v1.2.0", second},
		{"commit", second, "plain", "v", "v1.2.0", second},
		{"kustomize", "main", "kustom", "k-v", "v2.0.0", head},
		{"helm", "v1.*", "chart", "v", "v1.2.0", second},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, r.Apply(t.Context(), fmt.Sprintf(sourceApp, c.name, url, c.revision, c.path), &v1alpha1.Application{}))
			app := good(t, r, c.name, c.commit)
			prints(t, r, "one", c.want, "get", "configmap", c.object, "-n", c.name, "-o", "jsonpath={.data.v}")
			if want := map[string]string{"kustomize": "Kustomize", "helm": "Helm"}[c.name]; want != "" && app.Status.SourceType != want {
				t.Errorf("source type %s, want %s", app.Status.SourceType, want)
			}
		})
	}
	t.Run("sets", func(t *testing.T) { generated(t, r, url) })
}

const setHead = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: %s}
spec:
`

const setTail = `  template:
    metadata: {name: '%s', labels: {seen: '%s'}}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: main, path: plain}
      destination: {name: one, namespace: sets}
`

// generated applies sets and reads back which Applications exist, with a label
// that shows a parameter.
func generated(t *testing.T, r *rig.Rig, url string) {
	strict := "  goTemplate: true\n  goTemplateOptions: [missingkey=error]\n"
	for _, c := range []struct {
		name, generators, app, seen string
		want                        map[string]string
	}{
		{"list", "  generators: [{list: {elements: [{env: dev, size: '1'}, {env: prod, size: '2'}]}}]\n",
			"list-{{env}}", "{{size}}", map[string]string{"list-dev": "1", "list-prod": "2"}},
		{"clusters", strict + "  generators: [{clusters: {selector: {matchLabels: {env: test}}}}]\n",
			"clusters-{{.name}}", "{{.metadata.labels.region}}", map[string]string{"clusters-one": "eu"}},
		{"directories", strict + fmt.Sprintf("  generators: [{git: {repoURL: %q, revision: main, directories: [{path: 'dirs/*'}, {path: dirs/old, exclude: true}]}}]\n", url),
			"dirs-{{.path.basename}}", "{{index .path.segments 0}}", map[string]string{"dirs-api": "dirs", "dirs-web": "dirs"}},
		{"files", fmt.Sprintf("  generators: [{git: {repoURL: %q, revision: main, files: [{path: 'sets/*/values.yaml'}]}}]\n", url),
			"files-{{cluster.region}}", "{{replicas}}", map[string]string{"files-eu": "1", "files-us": "2"}},
		{"matrix", strict + "  generators:\n  - matrix:\n      generators:\n      - clusters: {selector: {matchLabels: {env: test}}}\n      - list: {elements: [{service: a}, {service: b}]}\n",
			"matrix-{{.service}}-{{.name}}", "{{.service}}", map[string]string{"matrix-a-one": "a", "matrix-b-one": "b"}},
		{"nested", fmt.Sprintf("  generators:\n  - matrix:\n      generators:\n      - git: {repoURL: %q, revision: main, files: [{path: 'sets/*/values.yaml'}]}\n      - clusters: {selector: {matchLabels: {region: '{{cluster.region}}'}}}\n", url),
			"nested-{{cluster.region}}-{{name}}", "{{metadata.labels.region}}", map[string]string{"nested-eu-one": "eu"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, r.Apply(t.Context(), fmt.Sprintf(setHead, c.name)+c.generators+fmt.Sprintf(setTail, c.app, c.seen, url), &v1alpha1.ApplicationSet{}))
			must(t, rig.Until(t.Context(), 20*time.Second, fmt.Sprintf("Applications %v", c.want), func(ctx context.Context) (bool, error) {
				var apps v1alpha1.ApplicationList
				if err := r.Hub.List(ctx, &apps, client.InNamespace(rig.Namespace), client.MatchingLabels{v1alpha1.LabelApplicationSetName: c.name}); err != nil {
					return false, err
				}
				got := map[string]string{}
				for _, a := range apps.Items {
					got[a.Name] = a.Labels["seen"]
				}
				if !maps.Equal(got, c.want) {
					return false, fmt.Errorf("got %v", got)
				}
				return true, nil
			}))
		})
	}
	t.Run("an element that goes takes its Application along", func(t *testing.T) {
		out, err := kubectl(t, r, "hub", "patch", "applicationset", "list", "-n", rig.Namespace, "--type", "merge", "-p",
			`{"spec":{"generators":[{"list":{"elements":[{"env":"dev","size":"1"}]}}]}}`)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		prints(t, r, "hub", "list-dev", "get", "applications", "-n", rig.Namespace, "-l", "applicationset-name=list", "-o", "jsonpath={.items[*].metadata.name}")
		must(t, rig.Until(t.Context(), 20*time.Second, "condition ResourcesUpToDate", func(ctx context.Context) (bool, error) {
			var set v1alpha1.ApplicationSet
			err := r.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: "list"}, &set)
			return slices.ContainsFunc(set.Status.Conditions, func(c v1alpha1.ApplicationSetCondition) bool { return c.Type == "ResourcesUpToDate" }), err
		}))
	})
}
