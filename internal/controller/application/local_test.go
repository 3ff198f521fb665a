package application

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// TestLocalRefused: what the server refuses the controller refuses too, as
// operations can be written past the server.
func TestLocalRefused(t *testing.T) {
	automated := &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
	source := v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/a", Path: "a"}
	for name, c := range map[string]struct {
		change func(p *pass)
		want   string
	}{
		"by hand":               {func(*pass) {}, ""},
		"automated":             {func(p *pass) { p.app.Spec.SyncPolicy = automated }, "Automatic Sync Policy"},
		"automated, a dry run":  {func(p *pass) { p.app.Spec.SyncPolicy, p.app.Operation.Sync.DryRun = automated, true }, ""},
		"several sources":       {func(p *pass) { p.app.Spec.Sources = []v1alpha1.ApplicationSource{source} }, "several sources"},
		"signatures are wanted": {func(p *pass) { p.project.Spec.SignatureKeys = []v1alpha1.SignatureKey{{KeyID: "4AEE18F83AFDEB23"}} }, "signature keys"},
		"integrity is wanted":   {func(p *pass) { p.project.Spec.SourceIntegrity = &v1alpha1.SourceIntegrity{} }, "signature keys"},
	} {
		p := windowedPass(friday(16))
		p.project, p.app.Spec.SyncPolicy = &v1alpha1.AppProject{}, nil
		p.app.Spec.Source = &source
		p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Manifests: []string{"{}"}}}
		p.app.Status.OperationState = &v1alpha1.OperationState{}
		c.change(p)
		if got := p.localRefused(); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: refused with %q, want %q", name, got, c.want)
		}
		if c.want == "" {
			continue
		}
		if phase, message, err := p.step(t.Context()); phase != v1alpha1.OperationError || !strings.Contains(message, c.want) || err != nil || p.local {
			t.Errorf("%s: %s %q, %v; the comparison that follows is with the manifests: %v", name, phase, message, err, p.local)
		}
	}
}

// TestLocalManifests are taken as they are; what is no object is named.
func TestLocalManifests(t *testing.T) {
	good := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`
	hook := `{"apiVersion":"batch/v1","kind":"Job","metadata":{"generateName":"a-"}}`
	m, err := localManifests([]string{good, hook}, []string{"main"})
	if err != nil || len(m.Objects) != 2 || m.Objects[0].GetName() != "a" || m.Digest == "" {
		t.Fatalf("%+v, %v", m, err)
	}
	if other, err := localManifests([]string{hook, good}, nil); err != nil || other.Digest == m.Digest {
		t.Errorf("other manifests have the same digest: %v", err)
	}
	for _, bad := range []string{"", "[]", "null", `{"kind":"ConfigMap"}`, `{"apiVersion":"v1","kind":"ConfigMap"}`, `{"apiVersion":"v1","metadata":{"name":"a"}}`} {
		if _, err := localManifests([]string{good, bad}, nil); err == nil || !strings.Contains(err.Error(), "manifests[1]") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestLocalNeedsNoGit: a local sync is pinned to the name of the target, and
// does not enter the history.
func TestLocalNeedsNoGit(t *testing.T) {
	p := windowedPass(friday(16))
	p.Manifests = heads{} // does not answer
	p.app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/a", TargetRevision: "main"}
	p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Manifests: []string{"{}"}}, Retry: v1alpha1.RetryStrategy{Refresh: true}}
	p.app.Status.OperationState = &v1alpha1.OperationState{}
	sources, ids, err := p.pin(t.Context())
	if err != nil || len(sources) != 1 || len(ids) != 1 || ids[0] != "main" {
		t.Fatalf("%v, %v, %v", sources, ids, err)
	}
	if r := p.app.Status.OperationState.SyncResult; r == nil || r.Revision != "main" {
		t.Errorf("result %+v", r)
	}
	if got := p.newer(t.Context()); got != "" {
		t.Errorf("gives way to %s", got)
	}
}

// TestLocalLeavesSecretsAlone: they are neither applied nor pruned.
func TestLocalLeavesSecretsAlone(t *testing.T) {
	key := func(group, kind string) syncplan.Pair {
		return syncplan.Pair{Key: object.Key{Group: group, Kind: kind, Name: "x"}}
	}
	v := &view{pairs: []syncplan.Pair{key("", "Secret"), key("", "ConfigMap"), key("bitnami.com", "Secret")}, hooks: []syncplan.Pair{key("", "Secret"), key("batch", "Job")}}
	v.withoutSecrets()
	if len(v.pairs) != 2 || len(v.hooks) != 1 || v.pairs[0].Key.Kind != "ConfigMap" || v.pairs[1].Key.Group != "bitnami.com" {
		t.Errorf("left are %+v and %+v", v.pairs, v.hooks)
	}
}

// TestScope: only the namespaces that an Application has to do with are looked
// at, unless nobody knows them.
func TestScope(t *testing.T) {
	app := windowedPass(friday(16)).app
	app.Spec.Destination.Namespace = "shop"
	app.Status.ReconciledAt = nil
	if _, known := Scope(app); known {
		t.Error("known before anybody has looked")
	}
	app.Status.ReconciledAt = &app.CreationTimestamp
	app.Status.Resources = []v1alpha1.ResourceStatus{{Kind: "Service", Namespace: "other"}, {Kind: "Namespace", Name: "shop"}}
	app.Status.OperationState = &v1alpha1.OperationState{SyncResult: &v1alpha1.SyncOperationResult{Resources: []*v1alpha1.ResourceResult{{Kind: "Job", Namespace: "jobs"}}}}
	got, known := Scope(app)
	if !known || len(got) != 3 || !got["shop"] || !got["other"] || !got["jobs"] {
		t.Errorf("%v, %v", got, known)
	}
	app.Spec.Destination.Namespace, app.Status.OperationState, app.Status.Resources = "", nil, []v1alpha1.ResourceStatus{{Kind: "ClusterRole", Name: "x"}}
	if _, known := Scope(app); known {
		t.Error("objects without a namespace say nothing about namespaces")
	}
}
