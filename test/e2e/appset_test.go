package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// previews is a host of source code with pull requests, in the shapes of Gitea.
type previews struct {
	mu       sync.Mutex
	branches []string
	broken   string
	asked    int
	tokens   []string
}

func (p *previews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if token := r.Header.Get("Authorization"); !slices.Contains(p.tokens, token) {
		p.tokens = append(p.tokens, token)
	}
	switch p.broken {
	case "html":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>sign in")
		return
	case "half":
		_, _ = io.WriteString(w, `[{"number": 1, "head": {"ref": "x"`)
		return
	}
	var all []string
	for i, b := range p.branches {
		all = append(all, fmt.Sprintf(`{"number": %d, "title": "t", "state": "open", "user": {"login": "ann"}, "head": {"ref": %q, "sha": "0123456789abcdef"}, "base": {"ref": "main"}}`, i+1, b))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "["+strings.Join(all, ",")+"]")
}

func (p *previews) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// owned are the names of the Applications of a set that are not going.
func owned(ctx context.Context, r *rig.Rig, set string) ([]string, error) {
	var apps v1alpha1.ApplicationList
	if err := r.Hub.List(ctx, &apps, client.InNamespace(rig.Namespace), client.MatchingLabels{v1alpha1.LabelApplicationSetName: set}); err != nil {
		return nil, err
	}
	var out []string
	for _, a := range apps.Items {
		if a.DeletionTimestamp == nil {
			out = append(out, a.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func wantOwned(t *testing.T, r *rig.Rig, set string, want ...string) {
	t.Helper()
	must(t, rig.Until(t.Context(), 30*time.Second, fmt.Sprintf("Applications %v of %s", want, set), func(ctx context.Context) (bool, error) {
		got, err := owned(ctx, r, set)
		if err != nil || slices.Equal(got, want) {
			return err == nil, err
		}
		return false, fmt.Errorf("got %v", got)
	}))
}

func wantSetCondition(t *testing.T, r *rig.Rig, set, kind string, words ...string) {
	t.Helper()
	must(t, rig.Until(t.Context(), 30*time.Second, fmt.Sprintf("condition %s of %s", kind, set), func(ctx context.Context) (bool, error) {
		var s v1alpha1.ApplicationSet
		if err := r.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: set}, &s); err != nil {
			return false, err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == kind && c.Status == "True" && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(c.Message, w) }) {
				return true, nil
			}
		}
		return false, fmt.Errorf("conditions %+v", s.Status.Conditions)
	}))
}

func mark(t *testing.T, r *rig.Rig, set, annotation, value string) {
	t.Helper()
	out, err := kubectl(t, r, "hub", "annotate", "applicationset", set, "-n", rig.Namespace, "--overwrite", annotation+"="+value)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

const previewSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: previews}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators:
  - pullRequest:
      gitea: {owner: acme, repo: shop, api: %q, tokenRef: {secretName: host, key: token}}
      requeueAfterSeconds: 3600
  template:
    metadata: {name: 'shop-{{.branch_slug}}'}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: main, path: plain}
      destination: {name: one, namespace: 'shop-{{.number}}'}
`

// TestHostSets lets a set follow the pull requests of a host: with a token from
// a Secret, through answers that are none, to the deletion that a person confirms.
func TestHostSets(t *testing.T) {
	r := start(t, "one:env=test")
	host := &previews{branches: []string{"feature/Foo_bar", "fix", "wip"}}
	server := httptest.NewServer(host)
	t.Cleanup(server.Close)
	must(t, r.Hub.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "host", Labels: map[string]string{v1alpha1.LabelSecretType: "scm-creds"}}, StringData: map[string]string{"token": "t0ken"},
	}))
	must(t, r.Launch("--token-ref-strict-mode", "--allowed-scm-providers", server.URL))
	must(t, r.Apply(t.Context(), fmt.Sprintf(previewSet, server.URL, r.Git.URL("gitops-fleet")), &v1alpha1.ApplicationSet{}))
	all := []string{"shop-feature-foo-bar", "shop-fix", "shop-wip"}
	t.Run("M23 slugs", func(t *testing.T) { wantOwned(t, r, "previews", all...) })
	t.Run("a request that comes", func(t *testing.T) {
		host.change(func() { host.branches = append(host.branches, "later") })
		mark(t, r, "previews", v1alpha1.AnnotationAppSetRefresh, "webhook")
		wantOwned(t, r, "previews", "shop-feature-foo-bar", "shop-fix", "shop-later", "shop-wip")
	})
	all = append(all, "shop-later")
	slices.Sort(all)
	for _, broken := range []string{"html", "half"} {
		t.Run(broken, func(t *testing.T) {
			host.change(func() { host.broken = broken })
			mark(t, r, "previews", v1alpha1.AnnotationAppSetRefresh, broken)
			wantSetCondition(t, r, "previews", v1alpha1.AppSetErrorOccurred, "pullRequest:", "nothing is deleted; the last complete answer, of 2")
			wantOwned(t, r, "previews", all...)
			host.change(func() { host.broken = "" })
			must(t, rig.Until(t.Context(), 30*time.Second, "the hint to be carried out", func(ctx context.Context) (bool, error) {
				var s v1alpha1.ApplicationSet
				err := r.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: "previews"}, &s)
				return s.Annotations[v1alpha1.AnnotationAppSetRefresh] == "", err
			}))
		})
	}
	t.Run("an empty list", func(t *testing.T) {
		host.change(func() { host.branches = nil })
		mark(t, r, "previews", v1alpha1.AnnotationAppSetRefresh, "empty")
		wantSetCondition(t, r, "previews", v1alpha1.AppSetDeletionGuarded, "4 of 4 Applications are no longer generated and are kept since")
		wantOwned(t, r, "previews", all...)
		mark(t, r, "previews", v1alpha1.AnnotationConfirmDeletion, "4")
		wantOwned(t, r, "previews")
	})
	host.change(func() {
		if len(host.tokens) != 1 || host.tokens[0] != "token t0ken" {
			t.Errorf("the host saw %v", host.tokens)
		}
	})
	log, err := os.ReadFile(r.Log())
	if must(t, err); strings.Contains(string(log), "t0ken") {
		t.Error("the token is in the log")
	}
}

// seeds are ApplicationSets in the shapes that articles show, with the
// Applications they make: of clusters eu (production, canary), us (production)
// and dev, and repositories myorg/k8s-manifests and myorg/gitops-fleet.
var seeds = map[string]struct {
	manifest string
	want     []string
}{
	"seed1-02": {`
metadata: {name: payment-service}
spec:
  generators: [{clusters: {selector: {matchLabels: {env: production}}}}]
  strategy: {type: RollingSync, rollingSync: {steps: [{matchExpressions: [{key: region, operator: In, values: [eu-west-1]}], maxUpdate: 1}, {matchExpressions: [{key: region, operator: NotIn, values: [eu-west-1]}], maxUpdate: 10}]}}
  template:
    metadata: {name: '{{name}}-payment-service'}
    spec: {project: production, source: {repoURL: https://github.com/myorg/gitops-fleet, targetRevision: HEAD, path: apps/payment-service}, destination: {server: '{{server}}', namespace: payments}}
`, []string{"eu-payment-service", "us-payment-service"}},
	"seed1-08": {`
metadata: {name: platform-services}
spec:
  generators: [{matrix: {generators: [{clusters: {selector: {matchLabels: {env: production}}}}, {list: {elements: [{service: payments, port: "8080"}, {service: orders, port: "8081"}, {service: inventory, port: "8082"}]}}]}}]
  template:
    metadata: {name: '{{name}}-{{service}}', labels: {service: '{{service}}'}}
    spec: {project: production, source: {repoURL: https://github.com/myorg/gitops-fleet, targetRevision: HEAD, path: 'apps/{{service}}'}, destination: {server: '{{server}}', namespace: '{{service}}'}}
`, []string{"eu-inventory", "eu-orders", "eu-payments", "us-inventory", "us-orders", "us-payments"}},
	"seed2-04": {`
metadata: {name: app-of-apps}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators: [{git: {repoURL: https://github.com/myorg/k8s-manifests.git, revision: main, directories: [{path: apps/*/overlays/production}, {path: apps/deprecated-*, exclude: true}]}}]
  template:
    metadata: {name: '{{.path.basename}}', namespace: argocd}
    spec: {project: production, source: {repoURL: https://github.com/myorg/k8s-manifests.git, targetRevision: main, path: '{{.path.path}}'}, destination: {server: https://kubernetes.default.svc, namespace: '{{.path.basename}}'}}
`, nil}, // the article's pattern names every folder production: refused, spec/progressive-scenarios.md M10
	"seed2-05": {`
metadata: {name: multi-cluster-apps}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators: [{clusters: {selector: {matchLabels: {env: production}, matchExpressions: [{key: region, operator: In, values: [ap-northeast-2, us-west-2, eu-west-1]}]}}}]
  template:
    metadata: {name: 'app-{{.name}}'}
    spec: {project: production, source: {repoURL: https://github.com/myorg/k8s-manifests.git, targetRevision: main, path: 'apps/my-app/overlays/{{.metadata.labels.env}}'}, destination: {server: '{{.server}}', namespace: production}}
`, []string{"app-eu", "app-us"}},
	"seed2-06": {`
metadata: {name: matrix-deployment}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators: [{matrix: {generators: [{clusters: {selector: {matchLabels: {env: production}}}}, {git: {repoURL: https://github.com/myorg/k8s-manifests.git, revision: main, directories: [{path: apps/*}]}}]}}]
  template:
    metadata: {name: '{{.path.basename}}-{{.name}}'}
    spec: {project: production, source: {repoURL: https://github.com/myorg/k8s-manifests.git, targetRevision: main, path: '{{.path.path}}/overlays/production'}, destination: {server: '{{.server}}', namespace: '{{.path.basename}}'}}
`, []string{"api-eu", "api-us", "web-eu", "web-us"}},
	"seed2-07": {`
metadata: {name: environment-apps}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators: [{list: {elements: [{env: dev, cluster: https://dev-k8s.example.com, revision: develop}, {env: staging, cluster: https://staging-k8s.example.com, revision: release/v2.5}, {env: production, cluster: https://kubernetes.default.svc, revision: main}]}}]
  template:
    metadata: {name: 'my-app-{{.env}}'}
    spec: {project: '{{.env}}', source: {repoURL: https://github.com/myorg/k8s-manifests.git, targetRevision: '{{.revision}}', path: 'apps/my-app/overlays/{{.env}}'}, destination: {server: '{{.cluster}}', namespace: 'my-app-{{.env}}'}}
`, []string{"my-app-production"}}, // the clusters and projects of the others are not there
	"seed2-21": {`
metadata: {name: platform-services}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators: [{matrix: {generators: [{clusters: {selector: {matchLabels: {env: production}}}}, {list: {elements: [{app: cert-manager, namespace: cert-manager, chart: cert-manager, repoURL: https://charts.jetstack.io, targetRevision: v1.16.0}, {app: external-secrets, namespace: external-secrets, chart: external-secrets, repoURL: https://charts.external-secrets.io, targetRevision: 0.12.0}, {app: metrics-server, namespace: kube-system, chart: metrics-server, repoURL: https://kubernetes-sigs.github.io/metrics-server, targetRevision: 3.12.0}]}}]}}]
  template:
    metadata: {name: '{{.app}}-{{.name}}'}
    spec: {project: platform, source: {repoURL: '{{.repoURL}}', chart: '{{.chart}}', targetRevision: '{{.targetRevision}}', helm: {releaseName: '{{.app}}'}}, destination: {server: '{{.server}}', namespace: '{{.namespace}}'}, syncPolicy: {syncOptions: [CreateNamespace=true]}}
`, []string{"cert-manager-eu", "cert-manager-us", "external-secrets-eu", "external-secrets-us", "metrics-server-eu", "metrics-server-us"}},
}

// TestSeedSets applies ApplicationSets as articles show them to a real hub,
// and where the articles' own manifests lie beside this repository, those.
func TestSeedSets(t *testing.T) {
	r := start(t, "eu:env=production;region=eu-west-1;wave=canary,us:env=production;region=us-west-2,dev:env=dev;region=eu-west-1")
	for _, path := range []string{"apps/web/overlays/production", "apps/api/overlays/production", "docs", "apps/.hidden"} {
		_, err := r.Repo.Apply(gitserver.Change{Message: path, Write: gitserver.Files{path + "/cm.yaml": fmt.Sprintf(configMap, "1")}})
		must(t, err)
	}
	for _, project := range []string{"production", "platform"} {
		must(t, r.Hub.Create(t.Context(), &v1alpha1.AppProject{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: project}, Spec: v1alpha1.AppProjectSpec{
			SourceRepos: []string{"*"}, Destinations: []v1alpha1.ApplicationDestination{{Server: "*", Namespace: "*"}},
		}}))
	}
	must(t, r.Launch())
	given, err := filepath.Glob("../../../shared/seeds/manifests/seed*-applicationset-*.yaml")
	must(t, err)
	for name, seed := range seeds {
		texts := map[string]string{"own words": "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\n" + seed.manifest}
		for _, file := range given {
			if strings.HasPrefix(filepath.Base(file), name) {
				raw, err := os.ReadFile(file)
				must(t, err)
				texts["as given"] = string(raw)
			}
		}
		for kind, text := range texts {
			t.Run(name+" "+kind, func(t *testing.T) { seedSet(t, r, text, seed.want) })
		}
	}
}

// seedSet applies one manifest, with repositories that exist here, and takes it
// away again.
func seedSet(t *testing.T, r *rig.Rig, text string, want []string) {
	t.Helper()
	here := r.Git.URL("gitops-fleet")
	for _, there := range []string{"https://github.com/myorg/k8s-manifests.git", "https://github.com/myorg/gitops-fleet"} {
		text = strings.ReplaceAll(text, there, here)
	}
	set := &v1alpha1.ApplicationSet{}
	must(t, yaml.UnmarshalStrict([]byte(text), set))
	set.Namespace = rig.Namespace
	must(t, r.Hub.Create(t.Context(), set))
	if want == nil {
		wantSetCondition(t, r, set.Name, v1alpha1.AppSetErrorOccurred, `Application name "production" is generated 2 times`)
	}
	wantOwned(t, r, set.Name, want...)
	must(t, r.Hub.Delete(t.Context(), set))
	must(t, rig.Until(t.Context(), time.Minute, "the end of "+set.Name, func(ctx context.Context) (bool, error) {
		var apps v1alpha1.ApplicationList
		err := r.Hub.List(ctx, &apps, client.InNamespace(rig.Namespace))
		for i := range apps.Items { // nothing was deployed: nothing holds them but a finalizer
			if app := &apps.Items[i]; len(app.Finalizers) > 0 {
				bare := app.DeepCopy()
				bare.Finalizers = nil
				if err := r.Hub.Patch(ctx, bare, client.MergeFrom(app)); client.IgnoreNotFound(err) != nil {
					return false, err
				}
			}
		}
		return len(apps.Items) == 0, err
	}))
}
