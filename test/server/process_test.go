package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigs "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/client"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/repository"
	"github.com/sluice-cd/sluice/internal/server/session"
	"github.com/sluice-cd/sluice/internal/server/setting"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// process is a server over a hub and a cluster, `sluice all --server` or one
// apart from the controllers.
type process struct {
	*rig.Rig
	*client.Client
	url string
	// midway happens while an Application lives; nil is nothing.
	midway func(t *testing.T)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	must(t, l.Close())
	return port
}

// launch starts everything in one process.
func launch(t *testing.T) *process {
	t.Helper()
	return launched(t, func(r *rig.Rig, port string) { must(t, r.Launch("--server", "--address", "127.0.0.1", "--port", port)) })
}

// launched starts a server and logs in as the administrator of its first start.
func launched(t *testing.T, start func(r *rig.Rig, port string)) *process {
	t.Helper()
	r, err := rig.Start(t.Context(), rig.Options{Bin: bin(t), Dir: t.TempDir(), Clusters: "eu-1"})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	p := &process{Rig: r}
	port := freePort(t)
	p.url = "https://127.0.0.1:" + port
	start(r, port)
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a certificate made by the process
	must(t, rig.Until(t.Context(), time.Minute, "the server is ready", func(ctx context.Context) (bool, error) {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/healthz", nil)
		must(t, err)
		resp, err := insecure.Do(q)
		if err != nil {
			return false, err
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	}))
	var secret corev1.Secret
	must(t, r.Hub.Get(t.Context(), sigs.ObjectKey{Namespace: namespace, Name: "argocd-initial-admin-secret"}, &secret))
	anonymous := client.New(client.Options{Server: p.url, HTTP: insecure})
	if _, err := anonymous.ApplicationList(t.Context(), &application.ListQuery{}); !is(err, fault.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
	token, err := anonymous.SessionCreate(t.Context(), &session.CreateRequest{Username: "admin", Password: string(secret.Data["password"])})
	must(t, err)
	p.Client = client.New(client.Options{Server: p.url, HTTP: insecure, Token: token.Token})
	return p
}

func is(err error, code fault.Code) bool {
	got, _ := fault.Of(err)
	return got == code
}

const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "x:%s"}]}}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: CANARY-live}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {a: "1"}
`

// watchUntil follows the stream of Applications until one is as wanted.
func (p *process) watchUntil(t *testing.T, name, what string, ok func(*v1alpha1.Application) bool) *v1alpha1.Application {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last *v1alpha1.Application
	for event, err := range p.ApplicationWatch(ctx, &application.Query{Name: name}) {
		must(t, err)
		if last = event.Application; event.Type != "DELETED" && ok(last) || event.Type == "DELETED" && what == "gone" {
			return last
		}
	}
	raw, _ := json.Marshal(last)
	t.Fatalf("%s was not seen: %s; last %s", name, what, raw)
	return nil
}

func healthyAt(revision string) func(*v1alpha1.Application) bool {
	return func(a *v1alpha1.Application) bool {
		return a.Status.Sync.Status == v1alpha1.SyncStatusSynced && a.Status.Health.Status == v1alpha1.HealthHealthy && a.Status.Sync.Revision == revision && a.Operation == nil
	}
}

// TestMainVerbs plays the life of an Application through the API alone.
func TestMainVerbs(t *testing.T) {
	launch(t).mainVerbs(t)
}

func (p *process) mainVerbs(t *testing.T) {
	ctx := t.Context()
	v1, err := p.Repo.Commit("v1", gitserver.Files{"web/all.yaml": fmt.Sprintf(manifests, "v1")})
	must(t, err)
	repo := p.Git.URL("gitops-fleet")

	app := v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{
		Project: "default", Source: &v1alpha1.ApplicationSource{RepoURL: repo, Path: "web", TargetRevision: "main"},
		Destination: v1alpha1.ApplicationDestination{Name: "eu-1", Namespace: "web"}, SyncPolicy: &v1alpha1.SyncPolicy{SyncOptions: []string{"CreateNamespace=true"}},
	}}
	app.Name = "web"
	bad := *app.DeepCopy()
	bad.Spec.Source.Path = "nowhere"
	if _, err := p.ApplicationCreate(ctx, &application.CreateRequest{Application: bad}); !is(err, fault.InvalidArgument) || !strings.Contains(err.Error(), "app path does not exist") {
		t.Errorf("a path that does not exist: %v", err)
	}
	_, err = p.ApplicationCreate(ctx, &application.CreateRequest{Application: app})
	must(t, err)
	refreshed, err := p.ApplicationGet(ctx, &application.GetQuery{Name: "web", Refresh: "normal"})
	must(t, err)
	if refreshed.Status.Sync.Status != v1alpha1.SyncStatusOutOfSync || refreshed.Status.Sync.Revision != v1 {
		t.Errorf("after a refresh: %s at %s", refreshed.Status.Sync.Status, refreshed.Status.Sync.Revision)
	}
	_, err = p.ApplicationSync(ctx, &application.SyncRequest{Target: application.Target{Name: "web"}})
	must(t, err)
	p.watchUntil(t, "web", "healthy at v1", healthyAt(v1))

	p.liveObjects(t)
	p.revisions(t, v1)
	p.diffs(t)
	p.links(t)
	p.uploads(t)
	if p.midway != nil {
		p.midway(t)
	}

	v2, err := p.Repo.Commit("v2", gitserver.Files{"web/all.yaml": fmt.Sprintf(manifests, "v2")})
	must(t, err)
	_, err = p.ApplicationGet(ctx, &application.GetQuery{Name: "web", Refresh: "hard"})
	must(t, err)
	resources, err := p.ApplicationManagedResources(ctx, &application.ResourcesQuery{Target: application.Target{Name: "web"}})
	must(t, err)
	modified := ""
	for _, r := range resources.Items {
		if r.Modified {
			modified += r.Kind + " "
		}
	}
	if modified != "Deployment " {
		t.Errorf("after v2 these differ: %s", modified)
	}
	_, err = p.ApplicationSync(ctx, &application.SyncRequest{Target: application.Target{Name: "web"}, Prune: true})
	must(t, err)
	at := p.watchUntil(t, "web", "healthy at v2", healthyAt(v2))
	_, err = p.ApplicationRollback(ctx, &application.RollbackRequest{Target: application.Target{Name: "web"}, ID: at.Status.History[0].ID})
	must(t, err)
	p.watchUntil(t, "web", "rolled back", func(a *v1alpha1.Application) bool {
		return a.Operation == nil && a.Status.OperationState != nil && a.Status.OperationState.Phase == v1alpha1.OperationSucceeded && a.Status.OperationState.SyncResult.Revision == v1
	})
	if _, err := p.ApplicationTerminateOperation(ctx, &application.TerminateRequest{Target: application.Target{Name: "web"}}); !is(err, fault.InvalidArgument) {
		t.Errorf("terminate nothing: %v", err)
	}
	_, err = p.ApplicationDelete(ctx, &application.DeleteRequest{Target: application.Target{Name: "web"}})
	must(t, err)
	must(t, rig.Until(ctx, time.Minute, "web is gone", func(ctx context.Context) (bool, error) {
		_, err := p.ApplicationGet(ctx, &application.GetQuery{Name: "web", Projects: []string{"default"}})
		return is(err, fault.NotFound), nil
	}))
	p.sets(t, repo)
	p.declared(t, repo)
	p.charts(t)
	p.revisionsElsewhere(t)
	p.rotates(t)
	p.settingsTakeEffect(t)
}

// liveObjects looks at what is on the cluster, changes it and deletes it.
func (p *process) liveObjects(t *testing.T) {
	ctx, web := t.Context(), application.Target{Name: "web"}
	ref := func(group, version, kind, name string) application.ResourceRequest {
		return application.ResourceRequest{Target: web, Group: group, Version: version, Kind: kind, Namespace: "web", ResourceName: name}
	}
	must(t, rig.Until(ctx, 30*time.Second, "a pod in the tree", func(ctx context.Context) (bool, error) {
		tree, err := p.ApplicationResourceTree(ctx, &application.ResourcesQuery{Target: web})
		if err != nil {
			return false, err
		}
		kinds := map[string]int{}
		for _, n := range tree.Nodes {
			kinds[n.Kind]++
		}
		return kinds["Deployment"] == 1 && kinds["ReplicaSet"] == 1 && kinds["Pod"] == 1 && kinds["Secret"] == 1, nil
	}))
	request := ref("", "v1", "Secret", "db")
	secret, err := p.ApplicationGetResource(ctx, &request)
	must(t, err)
	search(t, "the live Secret", secret.Manifest)
	if !strings.Contains(secret.Manifest, "++++") {
		t.Errorf("the live Secret is %s", secret.Manifest)
	}
	managed, err := p.ApplicationManagedResources(ctx, &application.ResourcesQuery{Target: web})
	must(t, err)
	raw, err := json.Marshal(managed)
	must(t, err)
	search(t, "managed resources", string(raw))
	rendered, err := p.ApplicationGetManifests(ctx, &application.ManifestQuery{Target: web})
	must(t, err)
	search(t, "manifests", strings.Join(rendered.Manifests, "\n"))
	if len(rendered.Manifests) != 3 {
		t.Errorf("%d manifests", len(rendered.Manifests))
	}
	deployment := ref("apps", "v1", "Deployment", "web")
	actions, err := p.ApplicationListResourceActions(ctx, &deployment)
	must(t, err)
	if len(actions.Actions) == 0 {
		t.Error("a Deployment has no actions")
	}
	_, err = p.ApplicationRunResourceActionV2(ctx, &application.RunActionV2Request{ResourceRequest: deployment, Action: "restart"})
	must(t, err)
	patched, err := p.ApplicationPatchResource(ctx, &application.PatchResourceRequest{
		ResourceRequest: deployment, PatchType: "application/merge-patch+json", Patch: `{"metadata":{"annotations":{"note":"by hand"}}}`,
	})
	must(t, err)
	if !strings.Contains(patched.Manifest, `"note":"by hand"`) || !strings.Contains(patched.Manifest, "restartedAt") {
		t.Errorf("after a restart and a patch: %s", patched.Manifest)
	}
	events, err := p.ApplicationListResourceEvents(ctx, &application.EventsQuery{Target: web})
	must(t, err)
	if len(events.Items) == 0 {
		t.Error("the Application has no events")
	}
	_, err = p.ApplicationDeleteResource(ctx, &application.DeleteResourceRequest{ResourceRequest: ref("", "v1", "ConfigMap", "extra")})
	must(t, err)
	p.watchUntil(t, "web", "ConfigMap missing", func(a *v1alpha1.Application) bool { return a.Status.Sync.Status == v1alpha1.SyncStatusOutOfSync })
	foreign := ref("", "v1", "ServiceAccount", "default")
	if _, err := p.ApplicationGetResource(ctx, &foreign); !is(err, fault.InvalidArgument) {
		t.Errorf("an object of nobody: %v", err)
	}
	_, err = p.ApplicationSync(ctx, &application.SyncRequest{Target: web})
	must(t, err)
	p.watchUntil(t, "web", "whole again", func(a *v1alpha1.Application) bool {
		return a.Status.Sync.Status == v1alpha1.SyncStatusSynced && a.Status.Health.Status == v1alpha1.HealthHealthy && a.Operation == nil
	})
}

// revisions asks what a commit is.
func (p *process) revisions(t *testing.T, revision string) {
	meta, err := p.ApplicationRevisionMetadata(t.Context(), &application.RevisionQuery{Target: application.Target{Name: "web"}, Revision: revision})
	must(t, err)
	if meta.Message != "v1" || meta.Author == "" || meta.Date == "" {
		t.Errorf("the commit is %+v", meta)
	}
	if _, err := p.ApplicationRevisionChartDetails(t.Context(), &application.RevisionQuery{Target: application.Target{Name: "web"}, Revision: revision}); !is(err, fault.InvalidArgument) {
		t.Errorf("a commit is no chart: %v", err)
	}
}

// sets makes a set, looks at its rollout, pauses and resumes it.
func (p *process) sets(t *testing.T, repo string) {
	ctx := t.Context()
	raw := fmt.Sprintf(`{"metadata":{"name":"fleet"},"spec":{"generators":[{"list":{"elements":[{"name":"one"},{"name":"two"}]}}],
	 "strategy":{"type":"RollingSync","rollingSync":{"steps":[{"matchExpressions":[{"key":"name","operator":"In","values":["one"]}]},{"matchExpressions":[{"key":"name","operator":"In","values":["two"]}]}]}},
	 "template":{"metadata":{"name":"fleet-{{name}}","labels":{"name":"{{name}}"}},"spec":{"project":"default","source":{"repoURL":%q,"path":"web","targetRevision":"main"},
	 "destination":{"name":"eu-1","namespace":"{{name}}"},"syncPolicy":{"automated":{},"syncOptions":["CreateNamespace=true"]}}}}}`, repo)
	var set v1alpha1.ApplicationSet
	must(t, json.Unmarshal([]byte(raw), &set))
	generated, err := p.ApplicationSetGenerate(ctx, &applicationset.GenerateRequest{ApplicationSet: set})
	must(t, err)
	if len(generated.Applications) != 2 || generated.Applications[0].Name != "fleet-one" {
		t.Errorf("generated %d Applications", len(generated.Applications))
	}
	plan, err := p.ApplicationSetPlanRolloutOf(ctx, &applicationset.PlanOfRequest{Name: "fleet", ApplicationSet: set})
	must(t, err)
	if len(plan.Steps) != 2 || plan.Problem != "" {
		t.Errorf("the plan is %+v", plan)
	}
	templated := *set.DeepCopy()
	templated.Spec.Template.Spec.Project = "{{name}}"
	if _, err := p.ApplicationSetCreate(ctx, &applicationset.CreateRequest{ApplicationSet: templated}); !is(err, fault.InvalidArgument) {
		t.Errorf("a templated project: %v", err)
	}
	_, err = p.ApplicationSetCreate(ctx, &applicationset.CreateRequest{ApplicationSet: set})
	must(t, err)
	named := applicationset.Named{Name: "fleet"}
	must(t, rig.Until(ctx, time.Minute, "a rollout", func(ctx context.Context) (bool, error) {
		view, err := p.ApplicationSetGetRollout(ctx, &named)
		return err == nil && len(view.Steps) == 2, err
	}))
	for _, verb := range []string{"pause", "resume"} {
		_, err = p.ApplicationSetSteerRollout(ctx, &applicationset.SteerRequest{Named: named, Verb: verb, Reason: "a look"})
		must(t, err)
	}
	if _, err := p.ApplicationSetSteerRollout(ctx, &applicationset.SteerRequest{Named: named, Verb: "explode"}); !is(err, fault.InvalidArgument) {
		t.Errorf("no such verb: %v", err)
	}
	must(t, rig.Until(ctx, time.Minute, "both Applications in the tree", func(ctx context.Context) (bool, error) {
		tree, err := p.ApplicationSetResourceTree(ctx, &named)
		return err == nil && len(tree.Nodes) == 2, err
	}))
	_, err = p.ApplicationSetDelete(ctx, &named)
	must(t, err)
}

// declared looks at clusters and repositories.
func (p *process) declared(t *testing.T, repo string) {
	ctx := t.Context()
	clusters, err := p.ClusterList(ctx, &cluster.Query{})
	must(t, err)
	states := map[string]string{}
	for _, c := range clusters.Items {
		states[c.Name] = c.ConnectionState.Status
	}
	if states["eu-1"] != "Successful" {
		t.Errorf("clusters are %v", states)
	}
	created, err := p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: repository.Given{Repo: repo, Password: "CANARY-given"}})
	must(t, err)
	search(t, "the repository", fmt.Sprintf("%+v", created))
	refs, err := p.RepositoryListRefs(ctx, &repository.Query{Repo: repo})
	must(t, err)
	if len(refs.Branches) != 1 || refs.Branches[0] != "main" {
		t.Errorf("branches %v", refs.Branches)
	}
	if _, err := p.RepositoryCreateRepository(ctx, &repository.CreateRequest{Repo: repository.Given{Repo: p.Git.URL("none")}}); !is(err, fault.InvalidArgument) {
		t.Errorf("a repository that is not there: %v", err)
	}
	_, err = p.RepositoryDeleteRepository(ctx, &repository.Query{Repo: repo})
	must(t, err)
}

// settingsTakeEffect changes a config map and the certificate, and sees both
// within a second.
func (p *process) settingsTakeEffect(t *testing.T) {
	ctx := t.Context()
	var cm corev1.ConfigMap
	must(t, p.Hub.Get(ctx, sigs.ObjectKey{Namespace: namespace, Name: "argocd-cm"}, &cm))
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data["ui.bannercontent"] = "hello"
	must(t, p.Hub.Update(ctx, &cm))
	must(t, rig.Until(ctx, time.Second, "the banner", func(ctx context.Context) (bool, error) {
		s, err := p.SettingsGet(ctx, &setting.SettingsQuery{})
		return err == nil && s.UIBannerContent == "hello", err
	}))
	cert, key := certificate(t, "fresh.example")
	must(t, p.Hub.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "argocd-server-tls", Namespace: namespace}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key},
	}))
	must(t, rig.Until(ctx, time.Second, "the new certificate", func(ctx context.Context) (bool, error) {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", strings.TrimPrefix(p.url, "https://")) //nolint:gosec // to look at the certificate
		if err != nil {
			return false, err
		}
		defer conn.Close()
		secure, ok := conn.(*tls.Conn)
		return ok && secure.ConnectionState().PeerCertificates[0].Subject.CommonName == "fresh.example", nil
	}))
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(strings.Replace(p.url, "https", "http", 1) + "/api/version?x=1")
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != p.url+"/api/version?x=1" {
		t.Errorf("plain HTTP: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func certificate(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
