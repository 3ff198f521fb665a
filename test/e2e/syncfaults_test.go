//go:build soak

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/chaos"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// syncFaults plays what clusters do to a sync. Each part has an Application, a
// namespace, a repository and an address of the API server of its own.
type syncFaults struct {
	*testing.T
	rig   *rig.Rig
	one   fleet.Cluster
	admin *rest.Config
}

// part is one Application of the suite.
type part struct {
	*syncFaults
	name string
	door *chaos.Proxy
	repo *gitserver.Repository
}

const faultApp = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %[1]s}
spec:
  project: default
  source: {repoURL: %[2]q, targetRevision: main, path: apps/%[1]s}
  destination: {name: %[1]s, namespace: %[1]s}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [CreateNamespace=true]
    retry: {limit: 20, backoff: {duration: 1s, factor: 1}}
`

func (f *syncFaults) begin(name, objects string) *part {
	f.Helper()
	door, err := chaos.New(chaos.Options{Target: f.admin, Authorize: func(*http.Request) bool { return true }})
	must(f.T, err)
	f.Cleanup(door.Close)
	c := &forms{T: f.T, rig: f.rig}
	c.register(name, door.URL(), tlsOf(door, map[string]any{"bearerToken": "any"}), nil)
	repo, err := f.rig.Git.Create(name) // where others commit, one more attempt begins with each commit
	must(f.T, err)
	p := &part{f, name, door, repo}
	p.commit(objects)
	return p
}

func (p *part) commit(objects string) string {
	p.Helper()
	id, err := p.repo.Apply(gitserver.Change{Message: p.name, Write: gitserver.Files{"apps/" + p.name + "/all.yaml": objects}})
	must(p.T, err)
	return id
}

// create makes the Application.
func (p *part) create() {
	p.Helper()
	must(p.T, p.rig.Apply(p.Context(), fmt.Sprintf(faultApp, p.name, p.rig.Git.URL(p.name)), &v1alpha1.Application{}))
}

// well waits until the Application is in sync and healthy, at whatever commit
// is the newest, with the text in one of its objects.
func (p *part) well() *v1alpha1.Application {
	p.Helper()
	return p.sees("in sync and healthy", func(app *v1alpha1.Application) bool {
		head, err := p.repo.Git("rev-parse", "HEAD")
		must(p.T, err)
		s := app.Status
		return s.Sync.Status == v1alpha1.SyncStatusSynced && s.Health.Status == v1alpha1.HealthHealthy && app.Operation == nil &&
			s.OperationState != nil && s.OperationState.Phase == v1alpha1.OperationSucceeded && s.Sync.Revision == strings.TrimSpace(head)
	})
}

func (p *part) sees(what string, ok func(*v1alpha1.Application) bool) *v1alpha1.Application {
	p.Helper()
	s := &stack{T: p.T, rig: p.rig}
	return s.until(p.name, p.name+": "+what, ok)
}

// message waits for a text in the message of the operation.
func (p *part) message(text string) *v1alpha1.Application {
	p.Helper()
	return p.sees("operation says "+text, func(app *v1alpha1.Application) bool {
		return app.Status.OperationState != nil && strings.Contains(app.Status.OperationState.Message, text)
	})
}

// wrote counts the writes of one sort, such as "create jobs/hook", that the
// cluster accepted.
func (p *part) wrote(what string) int {
	p.Helper()
	lines, err := p.one.AuditLines()
	must(p.T, err)
	n := 0
	for _, a := range lines {
		if ours(a) && a.Write() && a.ObjectRef.Namespace == p.name && event(a) == what {
			n++
		}
	}
	return n
}

func (p *part) run(args ...string) string {
	p.Helper()
	out, err := kubectl(p.T, p.rig, "one", args...)
	if err != nil {
		p.Fatalf("kubectl %v: %v: %s", args, err, out)
	}
	return out
}

// apply applies objects with kubectl.
func (p *part) apply(text string) {
	p.Helper()
	file := filepath.Join(p.TempDir(), "objects.yaml")
	must(p.T, os.WriteFile(file, []byte(text), 0o600))
	p.run("apply", "-f", file)
}

const faultJob = `---
apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {argocd.argoproj.io/hook: PreSync}}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:%s"}]}}}
`

// TestSyncFaults plays the faults of target clusters one beside the other.
func TestSyncFaults(t *testing.T) {
	r := start(t, "one:env=test")
	f := &syncFaults{T: t, rig: r}
	var err error
	f.one, err = r.Fleet.Cluster("one")
	must(t, err)
	f.admin, err = f.one.Config()
	must(t, err)
	must(t, r.Launch())
	t.Run("requests", func(t *testing.T) {
		for name, play := range map[string]func(*syncFaults){
			"throttled": (*syncFaults).throttled, "conflicts": (*syncFaults).conflicts, "answer lost": (*syncFaults).answerLost, "watch expired": (*syncFaults).watchExpired,
			"admission times out": (*syncFaults).admission, "kind removed": (*syncFaults).kindRemoved, "namespace terminating": (*syncFaults).namespaceTerminating,
			"finalizer never removed": (*syncFaults).finalizer, "server errors": (*syncFaults).serverErrors,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				play(&syncFaults{T: t, rig: f.rig, one: f.one, admin: f.admin})
			})
		}
	})
	for _, p := range []struct {
		name string
		play func(*syncFaults)
	}{{"killed", (*syncFaults).killed}, {"frozen", (*syncFaults).frozen}, {"stopped", (*syncFaults).stopped}} {
		t.Run(p.name, func(t *testing.T) { p.play(&syncFaults{T: t, rig: f.rig, one: f.one, admin: f.admin}) })
	}
}

// throttled: 429 is waited out and no user hears of it.
func (f *syncFaults) throttled() {
	p := f.begin("throttled", config("1"))
	p.door.Add(chaos.Rule{Match: chaos.Writes("configmaps"), Do: chaos.Refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "slow down"), Times: 3})
	p.door.Add(chaos.Rule{Match: func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps")
	}, Do: chaos.Refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "slow down"), Times: 2})
	p.create()
	if app := p.well(); app.Status.OperationState.RetryCount != 0 {
		p.Errorf("throttling cost %d attempts", app.Status.OperationState.RetryCount)
	}
	if p.door.Used() < 3 {
		p.Errorf("only %d requests were throttled", p.door.Used())
	}
}

// conflicts: somebody else writes at the same time.
func (f *syncFaults) conflicts() {
	p := f.begin("conflicts", config("1")+fmt.Sprintf(faultJob, "v1"))
	p.door.Add(chaos.Rule{Match: chaos.Writes("jobs/hook"), Do: chaos.Refuse(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified"), Times: 2})
	p.create()
	if app := p.well(); app.Status.OperationState.RetryCount != 0 {
		p.Errorf("conflicts cost %d attempts: %s", app.Status.OperationState.RetryCount, app.Status.OperationState.Message)
	}
	if n := p.wrote("create jobs/hook"); n != 1 {
		p.Errorf("the hook was created %d times", n)
	}
}

// answerLost: the hook is created, but nobody hears of it.
func (f *syncFaults) answerLost() {
	p := f.begin("answer-lost", config("1")+fmt.Sprintf(faultJob, "v1"))
	p.door.Add(chaos.Rule{Match: func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/jobs") && r.URL.Query().Get("dryRun") == ""
	}, Do: chaos.Forget, Times: 1})
	p.door.Add(chaos.Rule{Match: chaos.Writes("configmaps"), Do: chaos.Forget, Times: 1})
	p.create()
	p.well()
	if n := p.wrote("create jobs/hook"); n != 1 {
		p.Errorf("the hook was created %d times", n)
	}
}

// watchExpired: watches end and begin again with 410; what happened between is
// not missed, and nothing is deleted because of it.
func (f *syncFaults) watchExpired() {
	p := f.begin("watch-expired", config("1"))
	p.create()
	p.well()
	gone := p.door.Add(chaos.Rule{Match: func(r *http.Request) bool { return r.URL.Query().Get("watch") != "" }, Do: chaos.Refuse(http.StatusGone, metav1.StatusReasonExpired, "too old resource version")})
	p.door.Hang()
	p.run("patch", "configmap", "side", "-n", p.name, "--type", "merge", "-p", `{"data":{"version":"edited"}}`)
	gone()
	prints(p.T, p.rig, "one", "1", "get", "configmap", "side", "-n", p.name, "-o", "jsonpath={.data.version}")
	p.well()
	if n := p.wrote("delete configmaps/side"); n != 0 {
		p.Errorf("%d deletions", n)
	}
}

// admission: a webhook that does not answer is named, and later attempts get
// through.
func (f *syncFaults) admission() {
	p := f.begin("admission", config("1"))
	release := make(chan struct{})
	pair, ca, err := chaos.Certificate()
	must(p.T, err)
	webhook := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			http.Error(w, "released", http.StatusServiceUnavailable)
		case <-r.Context().Done():
		}
	}))
	webhook.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	webhook.StartTLS()
	p.Cleanup(func() { close(release); webhook.Close() })
	p.run("create", "namespace", p.name)
	p.apply(fmt.Sprintf(`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"hangs"},"webhooks":[{
		"name":"hangs.example.com","sideEffects":"None","admissionReviewVersions":["v1"],"timeoutSeconds":1,"failurePolicy":"Fail","clientConfig":{"url":%q,"caBundle":%q},
		"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":%q}},"rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["configmaps"]}]}]}`, webhook.URL, base64.StdEncoding.EncodeToString(ca), p.name))
	p.create()
	p.message(`failed calling webhook "hangs.example.com"`)
	p.run("delete", "validatingwebhookconfiguration", "hangs")
	p.well()
}

const faultKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: fragiles.faults.example.com}
spec:
  group: faults.example.com
  names: {kind: Fragile, plural: fragiles}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// kindRemoved: a definition goes in the middle of a sync; the operation ends
// with that reason, the rest is done, and all is well when it is back.
func (f *syncFaults) kindRemoved() {
	p := f.begin("kind-removed", config("1"))
	p.apply(faultKind)
	p.run("wait", "--for=condition=Established", "--timeout=20s", "crd/fragiles.faults.example.com")
	web := strings.Replace(rig.Workload("web", "never-ready"), "replicas: 2", "replicas: 1", 1)
	fragile := "---\napiVersion: faults.example.com/v1\nkind: Fragile\nmetadata: {name: f, annotations: {argocd.argoproj.io/sync-wave: '1'}}\n"
	p.commit(web + fragile)
	p.create()
	p.message("waiting for healthy state of apps/Deployment/web")
	p.run("delete", "crd", "fragiles.faults.example.com")
	p.run("patch", "deployment", "web", "-n", p.name, "--type", "merge", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"x:v1"}]}}}}`)
	p.message(`Make sure the "Fragile" CRD is installed on the destination cluster`)
	prints(p.T, p.rig, "one", "service/web", "get", "service", "web", "-n", p.name, "-o", "name")
	p.apply(faultKind)
	(&stack{T: p.T, rig: p.rig}).patch(p.name, `{"status": {"operationState": {"phase": "Terminating"}}}`) // its attempts would wait for the image that never gets ready
	p.message("Operation terminated")
	p.commit(strings.Replace(web, "never-ready", "v1", 1) + fragile)
	p.well()
	prints(p.T, p.rig, "one", "fragile.faults.example.com/f", "get", "fragile", "f", "-n", p.name, "-o", "name")
	p.run("delete", "crd", "fragiles.faults.example.com")
	p.sees("the kind is missed", func(app *v1alpha1.Application) bool {
		return slices.ContainsFunc(app.Status.Resources, func(r v1alpha1.ResourceStatus) bool {
			return r.Kind == "Fragile" && r.Status == v1alpha1.SyncStatusOutOfSync && r.Health != nil && r.Health.Status == v1alpha1.HealthMissing
		})
	})
}

// namespaceTerminating: nothing can be created in a namespace that goes; the
// attempts say so, and one gets through when it is gone.
func (f *syncFaults) namespaceTerminating() {
	p := f.begin("ns-terminating", config("1"))
	p.run("create", "namespace", p.name)
	p.apply(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"holds","namespace":"ns-terminating","finalizers":["example.com/held"]}}`)
	p.run("delete", "namespace", p.name, "--wait=false")
	p.create()
	p.message("because it is being terminated")
	p.run("patch", "configmap", "holds", "-n", p.name, "--type", "merge", "-p", `{"metadata":{"finalizers":null}}`)
	p.well()
}

// finalizer: a pruned object whose finalizer nobody removes is waited for by
// name; terminating the operation ends the wait.
func (f *syncFaults) finalizer() {
	held := strings.Replace(config("1"), "{name: side}", "{name: held, finalizers: [example.com/never]}", 1)
	p := f.begin("finalizer", config("1")+"---\n"+held)
	p.create()
	p.well()
	p.commit(config("2") + "---\n" + strings.Replace(config("2"), "{name: side}", "{name: late, annotations: {argocd.argoproj.io/sync-wave: '1'}}", 1))
	app := p.message("waiting for deletion of /ConfigMap/held")
	if !strings.Contains(app.Status.OperationState.Message, "example.com/never") {
		p.Errorf("the message does not name the finalizer: %s", app.Status.OperationState.Message)
	}
	prints(p.T, p.rig, "one", "2", "get", "configmap", "side", "-n", p.name, "-o", "jsonpath={.data.version}")
	if p.wrote("patch configmaps/late") != 0 {
		p.Error("the next wave did not wait for what was pruned")
	}
	s := &stack{T: p.T, rig: p.rig}
	s.patch(p.name, `{"status": {"operationState": {"phase": "Terminating"}}}`)
	p.message("Operation terminated")
	p.run("patch", "configmap", "held", "-n", p.name, "--type", "merge", "-p", `{"metadata":{"finalizers":null}}`)
	s.patch(p.name, `{"operation": {"sync": {}}}`)
	prints(p.T, p.rig, "one", "2", "get", "configmap", "late", "-n", p.name, "-o", "jsonpath={.data.version}")
}

// serverErrors: an API server that is half up.
func (f *syncFaults) serverErrors() {
	p := f.begin("server-errors", config("1"))
	p.door.Add(chaos.Rule{Match: chaos.Writes("configmaps"), Do: chaos.Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "etcd is away"), Times: 2})
	p.door.Add(chaos.Rule{Match: func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps")
	}, Do: chaos.Refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError, "no leader"), Times: 2})
	p.create()
	p.well()
}

// killed: SIGKILL while a hook runs, when it is done, and between waves; each
// hook is created once for each operation, and no wave is skipped.
func (f *syncFaults) killed() {
	wave := func(v string) string {
		late := strings.Replace(config(v), "{name: side}", "{name: late, annotations: {argocd.argoproj.io/sync-wave: '1'}}", 1)
		after := strings.NewReplacer("name: hook,", "name: after,", "PreSync", "PostSync").Replace(fmt.Sprintf(faultJob, "v1"))
		return strings.Replace(rig.Workload("web", v), "replicas: 2", "replicas: 1", 1) + "---\n" + late + fmt.Sprintf(faultJob, "v1") + after
	}
	p := f.begin("killed", wave("v0"))
	p.create()
	p.well()
	for i, moment := range []string{"create jobs/hook", "patch jobs/hook", "patch deployments/web", "patch configmaps/late", "create jobs/after", "patch jobs/after"} {
		version := fmt.Sprintf("v%d", i+1)
		creates, seen := []int{p.wrote("create jobs/hook"), p.wrote("create jobs/after")}, p.wrote(moment)
		p.commit(wave(version))
		p.await(func() bool { return p.wrote(moment) > seen })
		p.rig.Kill(syscall.SIGKILL)
		must(p.T, p.rig.Launch())
		p.well()
		for n, hook := range []string{"hook", "after"} {
			if got := p.wrote("create jobs/"+hook) - creates[n]; got != 1 {
				p.Errorf("killed at %q: hook %s was created %d times", moment, hook, got)
			}
		}
		prints(p.T, p.rig, "one", version, "get", "configmap", "late", "-n", p.name, "-o", "jsonpath={.data.version}")
	}
}

// await reads the audit log until something was written.
func (p *part) await(ok func() bool) {
	p.Helper()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(40 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			p.Fatal("the moment did not come")
		}
	}
}

// frozen: the cluster stops in the middle of a hook and goes on.
func (f *syncFaults) frozen() {
	p := f.begin("frozen", config("1"))
	p.create()
	p.well()
	before := p.wrote("create jobs/hook")
	p.commit(config("2") + fmt.Sprintf(faultJob, "slow"))
	p.await(func() bool { return p.wrote("create jobs/hook") > before })
	must(p.T, p.rig.Fleet.Run(p.Context(), "pause", "one"))
	p.sees("nothing is known", func(app *v1alpha1.Application) bool {
		return app.Status.Sync.Status == v1alpha1.SyncStatusUnknown && app.Status.Health.Status == v1alpha1.HealthUnknown && strings.Contains(fmt.Sprint(app.Status.Conditions), "does not answer") &&
			strings.Contains(app.Status.OperationState.Message, "waiting for cluster")
	})
	must(p.T, p.rig.Fleet.Run(p.Context(), "resume", "one"))
	p.well()
	if got := p.wrote("create jobs/hook") - before; got != 1 {
		p.Errorf("the hook was created %d times", got)
	}
}

// stopped: the API server is gone for a while, with an operation under way.
func (f *syncFaults) stopped() {
	p := f.begin("stopped", config("1"))
	p.create()
	p.well()
	before := p.wrote("create jobs/hook")
	p.commit(config("2") + fmt.Sprintf(faultJob, "slow"))
	p.await(func() bool { return p.wrote("create jobs/hook") > before })
	must(p.T, p.rig.Fleet.Run(p.Context(), "stop", "one"))
	p.sees("nothing is known", func(app *v1alpha1.Application) bool {
		return app.Status.Sync.Status == v1alpha1.SyncStatusUnknown && strings.Contains(app.Status.OperationState.Message, "waiting for cluster")
	})
	must(p.T, p.rig.Fleet.Run(p.Context(), "start", "one"))
	must(p.T, rig.Until(p.Context(), 60*time.Second, "the cluster answers", func(ctx context.Context) (bool, error) {
		err := answer(ctx, p.one, 2*time.Second)
		return err == nil, err
	}))
	p.well()
	if got := p.wrote("create jobs/hook") - before; got != 1 {
		p.Errorf("the hook was created %d times", got)
	}
}
