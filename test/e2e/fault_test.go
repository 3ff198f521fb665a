package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const plainApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %s}
spec:
  project: %s
  source: {repoURL: %q, targetRevision: HEAD, path: %s}
  destination: {%s, namespace: side}
  syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`

const configMap = `apiVersion: v1
kind: ConfigMap
metadata: {name: side}
data: {version: %q}
`

func get(ctx context.Context, r *rig.Rig, name string) (*v1alpha1.Application, error) {
	var app v1alpha1.Application
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: rig.Namespace, Name: name}, &app)
	return &app, err
}

// TestFrozenCluster freezes a primary cluster in the middle of a rollout: its
// step waits and says why, nothing else is delayed, and it completes when the
// cluster answers again.
func TestFrozenCluster(t *testing.T) {
	r := start(t, rig.PaymentClusters)
	v1, err := r.CommitPayment("v1")
	must(t, err)
	_, err = r.Repo.Commit("side", gitserver.Files{"apps/side/cm.yaml": fmt.Sprintf(configMap, "1")})
	must(t, err)
	must(t, r.Launch())
	must(t, r.ApplyPayment(t.Context()))
	side := fmt.Sprintf(plainApp, "side", "default", r.Git.URL("gitops-fleet"), "apps/side", "name: eu-west-1")
	must(t, r.Apply(t.Context(), side, &v1alpha1.Application{}))
	head, err := r.Repo.Git("rev-parse", "HEAD")
	must(t, err)
	settle(t, r, strings.TrimSpace(head), 90*time.Second)
	_ = v1

	must(t, r.Fleet.Run(t.Context(), "pause", "us-west-2"))
	v2, err := r.CommitPayment("v2")
	must(t, err)
	must(t, rig.Until(t.Context(), 60*time.Second, "us-east-1 at v2 and us-west-2 explained", func(ctx context.Context) (bool, error) {
		east, err := get(ctx, r, "us-east-1-payment-service")
		if err != nil {
			return false, err
		}
		west, err := get(ctx, r, "us-west-2-payment-service")
		if err != nil {
			return false, err
		}
		explained := false
		for _, c := range west.Status.Conditions {
			explained = explained || strings.Contains(c.Message, "cluster us-west-2 does not answer")
		}
		return east.Status.Sync.Revision == v2 && east.Status.Sync.Status == "Synced" && east.Status.Health.Status == "Healthy" &&
			west.Status.Health.Status == "Unknown" && explained, nil
	}))
	begin := time.Now()
	_, err = r.Repo.Commit("side 2", gitserver.Files{"apps/side/cm.yaml": fmt.Sprintf(configMap, "2")})
	must(t, err)
	must(t, rig.Until(t.Context(), 20*time.Second, "side application on another cluster at 2", func(context.Context) (bool, error) {
		got, err := r.Received(`"version":"2"`)
		return len(got) == 1 && got[0] == "eu-west-1", err
	}))
	t.Logf("another cluster was served within %s meanwhile", time.Since(begin).Round(10*time.Millisecond))
	if got, err := r.Received("payment-service:v2"); err != nil || len(got) != 2 {
		t.Fatalf("v2 was written to %v (%v), want the canary and us-east-1 only", got, err)
	}
	must(t, r.Fleet.Run(t.Context(), "resume", "us-west-2"))
	last, err := r.Repo.Git("rev-parse", "HEAD")
	must(t, err)
	settle(t, r, strings.TrimSpace(last), 60*time.Second)
}

// TestBadInput gives each kind of mistake to an Application or a set of its
// own: each is told its object, field and remedy, and the good one is served.
func TestBadInput(t *testing.T) {
	r := start(t, "one:env=test")
	_, err := r.Repo.Apply(gitserver.Change{Message: "files", Write: gitserver.Files{
		"apps/good/cm.yaml":   fmt.Sprintf(configMap, "1"),
		"apps/broken/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [unclosed\n",
	}})
	must(t, err)
	must(t, r.Launch())
	url := r.Git.URL("gitops-fleet")
	must(t, r.Apply(t.Context(), `{apiVersion: argoproj.io/v1alpha1, kind: AppProject, metadata: {name: narrow}, spec: {sourceRepos: ['https://example.com/**'], destinations: [{server: '*', namespace: '*'}]}}`, &v1alpha1.AppProject{}))
	cases := map[string]struct{ manifest, want string }{
		"unreachable": {fmt.Sprintf(plainApp, "unreachable", "default", "http://127.0.0.1:1/none.git", "apps/good", "name: one"), "repository http://127.0.0.1:1/none.git"},
		"nopath":      {fmt.Sprintf(plainApp, "nopath", "default", url, "apps/nowhere", "name: one"), "apps/nowhere: app path does not exist"},
		"broken":      {fmt.Sprintf(plainApp, "broken", "default", url, "apps/broken", "name: one"), "apps/broken/cm.yaml: document 1, line 4: not valid YAML"},
		"nocluster":   {fmt.Sprintf(plainApp, "nocluster", "default", url, "apps/good", "name: mars"), "spec.destination: there are no clusters with this name: mars"},
		"forbidden":   {fmt.Sprintf(plainApp, "forbidden", "narrow", url, "apps/good", "name: one"), "is not permitted in project 'narrow'"},
		"noproject":   {fmt.Sprintf(plainApp, "noproject", "lost", url, "apps/good", "name: one"), "referencing project lost which does not exist"},
	}
	for _, c := range cases {
		must(t, r.Apply(t.Context(), c.manifest, &v1alpha1.Application{}))
	}
	must(t, r.Apply(t.Context(), fmt.Sprintf(plainApp, "good", "default", url, "apps/good", "name: one"), &v1alpha1.Application{}))
	set := `{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, metadata: {name: badset}, spec: {goTemplate: true, goTemplateOptions: [missingkey=error],
  generators: [{list: {elements: [{name: a}]}}], template: {metadata: {name: '{{.nam}}'}, spec: {project: default, destination: {name: one}, source: {repoURL: x, path: y}}}}}`
	must(t, r.Apply(t.Context(), set, &v1alpha1.ApplicationSet{}))
	for name, c := range cases {
		must(t, rig.Until(t.Context(), 40*time.Second, name+" says "+c.want, func(ctx context.Context) (bool, error) {
			app, err := get(ctx, r, name)
			if err != nil {
				return false, err
			}
			for _, condition := range app.Status.Conditions {
				if strings.Contains(condition.Message, c.want) {
					return app.Status.Sync.Status == "Unknown", nil
				}
			}
			return false, fmt.Errorf("conditions: %v", app.Status.Conditions)
		}))
	}
	must(t, rig.Until(t.Context(), 30*time.Second, "the good Application is served", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, r, "good")
		return err == nil && app.Status.Sync.Status == "Synced" && app.Status.Health.Status == "Healthy", err
	}))
	must(t, rig.Until(t.Context(), 30*time.Second, "the set names template and parameters", func(ctx context.Context) (bool, error) {
		var s v1alpha1.ApplicationSet
		if err := r.Hub.Get(ctx, types.NamespacedName{Namespace: rig.Namespace, Name: "badset"}, &s); err != nil {
			return false, err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == "ErrorOccurred" && c.Status == "True" && strings.Contains(c.Message, "spec.generators[0]") && strings.Contains(c.Message, "{{.nam}}") {
				return true, nil
			}
		}
		return false, fmt.Errorf("conditions: %v", s.Status.Conditions)
	}))
}
