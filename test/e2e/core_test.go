package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// coreProject permits what the test deploys, and asks for orphans.
const coreProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: shop}
spec:
  description: what the shop is made of
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: 'shop*'}]
  orphanedResources: {warn: false}
  roles: [{name: reader, policies: ['p, proj:shop:reader, applications, get, shop/*, allow']}]
`

// coreApps are one Application of plain manifests with a hook and one of a chart.
const coreApps = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %s, labels: {team: shop}}
spec:
  project: shop
  source: {repoURL: %q, targetRevision: main, path: %s}
  destination: {name: %s, namespace: %s}
  syncPolicy: {syncOptions: [CreateNamespace=true]}
`

// coreSet rolls out to both clusters, one after the other.
const coreSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: fleet}
spec:
  generators:
  - clusters: {selector: {matchLabels: {env: production}}}
  strategy:
    type: RollingSync
    rollingSync:
      steps:
      - matchExpressions: [{key: wave, operator: In, values: [canary]}]
      - matchExpressions: [{key: wave, operator: NotIn, values: [canary]}]
  template:
    metadata: {name: '{{name}}-web'}
    spec:
      project: shop
      source: {repoURL: %q, targetRevision: main, path: web}
      destination: {server: '{{server}}', namespace: shop-web}
      syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`

const hookManifest = `apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {argocd.argoproj.io/hook: PreSync}}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: m, image: registry.example.com/m:1}]}}
---
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {password: hunter2hunter2}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
`

// coreRig is a fleet with Applications and a server beside Kubernetes.
type coreRig struct {
	*testing.T
	*rig.Rig
	address, home, kubeconfig string
}

// reply is what a command said.
type reply struct {
	Out, Problem string
	Code         int
}

// times and instants are when something was said.
var (
	times    = regexp.MustCompile(`,"time":"[^"]*"`)
	instants = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT[^ ]+`)
)

// run runs a command of the command line.
func (r *coreRig) run(env []string, args ...string) reply {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries(r.T), "sluice"), args...)
	cmd.Env = append(append(os.Environ(), "HOME="+r.home, "XDG_CACHE_HOME="+filepath.Join(r.home, "cache"), "KUBECONFIG="+r.kubeconfig), env...)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	a := reply{}
	if err := cmd.Run(); err != nil {
		a.Code = cmd.ProcessState.ExitCode()
	}
	a.Out, a.Problem = out.String(), problem.String()
	a.Problem = times.ReplaceAllString(a.Problem, "")
	if len(args) > 1 && (args[1] == "wait" || args[1] == "sync") { // of rows of progress
		a.Out = instants.ReplaceAllString(a.Out, "TIME")
	}
	return a
}

func (r *coreRig) server(args ...string) reply {
	return r.run([]string{"ARGOCD_SERVER=" + r.address, "ARGOCD_OPTS=--plaintext"}, args...)
}

func (r *coreRig) core(args ...string) reply { return r.run([]string{"ARGOCD_OPTS=--core"}, args...) }

// fine runs a command that must succeed.
func (r *coreRig) fine(with func(...string) reply, args ...string) string {
	r.Helper()
	a := with(args...)
	if a.Code != 0 {
		r.Fatalf("%s: exit code %d: %s%s", strings.Join(args, " "), a.Code, a.Problem, a.Out)
	}
	return a.Out
}

// startCore brings the fleet up.
func startCore(t *testing.T) *coreRig {
	t.Helper()
	r := &coreRig{T: t, Rig: start(t, "alpha:env=production;wave=canary,beta:env=production;wave=rest"), home: t.TempDir()}
	r.kubeconfig = r.HubPart.Kubeconfig
	_, err := r.Repo.Commit("all", gitserver.Files{
		"plain/all.yaml": hookManifest + rig.Workload("plain", "v1"), "web/all.yaml": rig.Workload("web", "v1"),
		"chart/Chart.yaml": "apiVersion: v2\nname: chart\nversion: 1.0.0\n", "chart/values.yaml": "replicas: 2\n",
		"chart/templates/_helpers.tpl": `{{- define "labels" -}}app: {{ .Release.Name }}{{- end -}}`,
		"chart/templates/all.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}', labels: { {{ include \"labels\" . }} }}\ndata: {replicas: '{{ .Values.replicas }}', kube: '{{ .Capabilities.KubeVersion.Version }}'}\n",
	})
	must(t, err)
	patched(t, r.Rig, &corev1.ConfigMap{}, "argocd-cm", `{"data":{"url":"https://cd.example.com"}}`)
	must(t, r.Apply(t.Context(), coreProject, &v1alpha1.AppProject{}))
	url := r.Git.URL("gitops-fleet")
	must(t, r.Apply(t.Context(), fmt.Sprintf(coreApps, "plain", url, "plain", "alpha", "shop-plain"), &v1alpha1.Application{}))
	must(t, r.Apply(t.Context(), fmt.Sprintf(coreApps, "chart", url, "chart", "beta", "shop-chart"), &v1alpha1.Application{}))
	must(t, r.Apply(t.Context(), fmt.Sprintf(coreSet, url), &v1alpha1.ApplicationSet{}))
	port := freePort(t)
	r.address = "127.0.0.1:" + port
	must(t, r.Launch("--server", "--address", "127.0.0.1", "--port", port, "--insecure", "--disable-auth"))
	must(t, rig.Until(t.Context(), 90*time.Second, "the server answers", func(ctx context.Context) (bool, error) {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/healthz", nil)
		if err != nil {
			return false, err
		}
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			return false, err
		}
		return res.StatusCode == http.StatusOK, res.Body.Close()
	}))
	return r
}

// reads are commands that say the same with a server and without one.
var reads = [][]string{
	{"app", "list"}, {"app", "list", "-o", "name"}, {"app", "list", "-o", "json"}, {"app", "list", "-p", "shop", "-l", "team=shop"},
	{"app", "get", "plain"}, {"app", "get", "plain", "-o", "yaml"}, {"app", "get", "plain", "-o", "tree"}, {"app", "get", "plain", "--show-operation"},
	{"app", "get", "chart", "-o", "tree"}, {"app", "get", "alpha-web", "-o", "tree"}, {"app", "get", "gone"},
	{"app", "history", "plain"}, {"app", "resources", "plain"}, {"app", "resources", "plain", "--output", "tree"}, {"app", "resources", "plain", "--orphaned"},
	{"app", "manifests", "plain"}, {"app", "manifests", "chart"}, {"app", "manifests", "plain", "--source", "live"}, {"app", "manifests", "plain", "--revision", "next"},
	{"app", "diff", "plain"}, {"app", "diff", "chart"}, {"app", "diff", "plain", "--revision", "next"}, {"app", "diff", "alpha-web"},
	{"app", "get-resource", "plain", "--kind", "Deployment"}, {"app", "get-resource", "plain", "--kind", "Secret", "-o", "yaml"}, {"app", "get-resource", "plain", "--kind", "Pod", "--filter-fields", "status.phase"},
	{"app", "actions", "list", "plain", "--kind", "Deployment"}, {"app", "logs", "plain", "--kind", "Deployment", "--name", "plain"}, {"app", "explain", "plain"}, {"app", "explain", "alpha-web"},
	{"app", "wait", "alpha-web", "--health", "--timeout", "30"},
	{"appset", "list"}, {"appset", "get", "fleet"}, {"appset", "get", "fleet", "-o", "yaml"},
	{"appset", "rollout", "status", "fleet"}, {"appset", "rollout", "plan", "fleet"}, {"appset", "rollout", "history", "fleet"},
	{"proj", "list"}, {"proj", "get", "shop"}, {"proj", "role", "list", "shop"}, {"proj", "windows", "list", "shop"},
	{"cluster", "list"}, {"cluster", "get", "alpha", "-o", "wide"}, {"repo", "list"}, {"repocreds", "list"}, {"cert", "list"}, {"gpg", "list"}, {"account", "list"},
}

// TestCore asks a server and Kubernetes alone the same, and then Kubernetes
// alone again when server and controllers are dead.
func TestCore(t *testing.T) {
	r := startCore(t)
	r.fine(r.server, "app", "sync", "plain", "--timeout", "120")
	r.fine(r.server, "app", "wait", "alpha-web", "beta-web", "--health", "--timeout", "120")
	first, err := r.Repo.Git("rev-parse", "refs/heads/main")
	must(t, err)
	_, err = r.Repo.Apply(gitserver.Change{Branch: "next", Message: "colour", From: first, Write: gitserver.Files{"plain/all.yaml": strings.Replace(hookManifest, "blue", "red", 1) + rig.Workload("plain", "v2")}})
	must(t, err)
	alpha, err := r.Fleet.Cluster("alpha")
	must(t, err)
	kube := kubeOf(t, alpha)
	scale(t, kube, "shop-plain", "plain", 1)
	_, err = kube.CoreV1().ConfigMaps("shop-plain").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "stray"}}, metav1.CreateOptions{})
	must(t, err)
	r.fine(r.core, "app", "get", "plain", "--refresh")
	r.rehearsal()
	before := r.same()
	if d := before["app diff plain"]; d.Code != 1 || !strings.Contains(d.Out, "===== apps/Deployment shop-plain/plain ======") || !strings.Contains(d.Out, "replicas: 1") {
		t.Errorf("app diff plain: %+v", d)
	}
	for name, a := range before {
		if strings.Contains(a.Out, "hunter2") || strings.Contains(a.Out, "aHVudGVyMmh1bnRlcjI") {
			t.Errorf("%s shows the Secret", name)
		}
	}
	for _, name := range []string{"app get plain -o tree", "app manifests chart", "appset rollout plan fleet", "cluster list"} {
		if before[name].Code != 0 || before[name].Out == "" {
			t.Errorf("%s: %+v", name, before[name])
		}
	}
	r.writes(kube)
	r.local(kube)
	settled := r.same()
	r.Kill(syscall.SIGKILL)
	r.alone(settled)
	r.dashboard()
	r.unreachable()
}

// same runs every read both ways until the answers are the same.
func (r *coreRig) same() map[string]reply {
	r.Helper()
	out := map[string]reply{}
	for _, args := range reads {
		name := strings.Join(args, " ")
		var want, got reply
		_ = rig.Until(r.Context(), 20*time.Second, name, func(context.Context) (bool, error) {
			want, got = r.server(args...), r.core(args...)
			return want == got, nil
		})
		if diff := cmp.Diff(want, got); diff != "" {
			r.Errorf("%s (-server +core):\n%s", name, diff)
		}
		out[name] = got
	}
	return out
}

// alone runs every read without any process of Sluice.
func (r *coreRig) alone(before map[string]reply) {
	r.Helper()
	for _, args := range reads {
		name := strings.Join(args, " ")
		if args[1] == "wait" {
			continue // it asks the controller to look again
		}
		if diff := cmp.Diff(timeless(before[name]), timeless(r.core(args...))); diff != "" {
			r.Errorf("%s, without server and controllers (-before +after):\n%s", name, diff)
		}
	}
}

// passing are words of an answer that say when it was given, or how often a
// controller has looked since the answer before.
var passing = regexp.MustCompile(`\d+ (seconds?|minutes?|hours?) ago|"?(resourceVersion|generation|reconciledAt)"?: .*`)

func timeless(a reply) reply {
	a.Out = passing.ReplaceAllString(a.Out, "")
	return a
}

// writes change things through core mode; the controller does what is asked.
func (r *coreRig) writes(kube kubernetes.Interface) {
	r.Helper()
	out := r.fine(r.core, "app", "sync", "plain", "--timeout", "120")
	if !strings.Contains(out, "Phase:") || !strings.Contains(out, "Succeeded") {
		r.Errorf("app sync: %s", out)
	}
	var app v1alpha1.Application
	must(r.T, r.Hub.Get(r.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: "plain"}, &app))
	if by := app.Status.OperationState.Operation.InitiatedBy; by.Username == "" || by.Automated {
		r.Errorf("who asked for the sync: %+v", by)
	}
	r.fine(r.core, "app", "wait", "plain", "--sync", "--health", "--operation", "--timeout", "60")
	r.fine(r.core, "app", "diff", "plain")
	r.fine(r.core, "app", "actions", "run", "plain", "restart", "--kind", "Deployment", "--resource-name", "plain")
	live, err := kube.AppsV1().Deployments("shop-plain").Get(r.Context(), "plain", metav1.GetOptions{})
	must(r.T, err)
	if live.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] == "" {
		r.Error("the action has not run")
	}
	r.fine(r.core, "app", "patch-resource", "plain", "--kind", "ConfigMap", "--resource-name", "settings", "--patch", `{"data":{"colour":"green"}}`)
	r.fine(r.core, "app", "sync", "plain", "--revision", "next", "--timeout", "120")
	r.fine(r.core, "app", "rollback", "plain", "0", "--timeout", "120")
	r.fine(r.core, "appset", "rollout", "pause", "fleet")
	if out := r.fine(r.server, "appset", "rollout", "status", "fleet"); !strings.Contains(strings.ToLower(out), "pause") {
		r.Errorf("the rollout is not paused: %s", out)
	}
	r.fine(r.core, "appset", "rollout", "resume", "fleet")
	if a := r.core("app", "create", "foreign", "--repo", r.Git.URL("gitops-fleet"), "--path", "plain", "--revision", "main", "--project", "shop", "--dest-name", "alpha", "--dest-namespace", "kube-system"); a.Code == 0 || !strings.Contains(a.Problem, "not permitted") && !strings.Contains(a.Problem, "do not match any of the allowed destinations") {
		r.Errorf("a destination that the project forbids: %+v", a)
	}
	if a := r.core("app", "list", "-n", "default"); a.Code != 20 || !strings.Contains(a.Problem, "namespace default holds no control plane") {
		r.Errorf("another namespace: %+v", a)
	}
	r.audited("argocd", "plain", "OperationStarted", "ResourceUpdated")
}

// local deploys a folder of this machine in place of Git.
func (r *coreRig) local(kube kubernetes.Interface) {
	r.Helper()
	dir := r.TempDir()
	write := func(name, text string) {
		must(r.T, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(r.T, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write(".git/config", "")
	write("plain/all.yaml", strings.NewReplacer("blue", "local", "hunter2hunter2", "s3cretlocal").Replace(hookManifest)+rig.Workload("plain", "v3"))
	write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n")
	write("chart/templates/_labels.tpl", `{{- define "l" -}}app: mine{{- end -}}`)
	write("chart/templates/all.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: chart, labels: { {{ include \"l\" . }} }}\ndata: {replicas: '7', kube: '{{ .Capabilities.KubeVersion.Version }}'}\n")
	r.fine(r.core, "app", "set", "chart", "--sync-policy", "automated")
	r.fine(r.core, "app", "wait", "chart", "--sync", "--health", "--operation", "--timeout", "60")
	plain, chart := filepath.Join(dir, "plain"), filepath.Join(dir, "chart")
	for _, args := range [][]string{
		{"app", "diff", "plain", "--local", plain}, {"app", "manifests", "plain", "--local", plain}, {"app", "diff", "chart", "--local", chart},
		{"app", "diff", "plain", "--local", dir, "--server-side-generate"}, {"app", "sync", "chart", "--local", chart},
	} {
		name := strings.Join(args, " ")
		want, got := r.server(args...), r.core(args...)
		if diff := cmp.Diff(want, got); diff != "" {
			r.Errorf("%s (-server +core):\n%s", name, diff)
		}
		if strings.Contains(got.Out, "tracking-id") && args[1] == "diff" {
			r.Errorf("%s shows marks as differences: %s", name, got.Out)
		}
		if strings.Contains(got.Out+got.Problem, "s3cretlocal") || got.Code == 0 && args[1] != "manifests" {
			r.Errorf("%s: %+v", name, got)
		}
	}
	key := client.ObjectKey{Namespace: rig.Namespace, Name: "plain"}
	var before, app v1alpha1.Application
	must(r.T, r.Hub.Get(r.Context(), key, &before))
	out := r.core("app", "sync", "plain", "--local", plain, "--timeout", "120")
	if out.Code != 0 || !strings.Contains(out.Problem, "Secret credentials is left as it is") {
		r.Fatalf("app sync --local: %+v", out)
	}
	config, err := kube.CoreV1().ConfigMaps("shop-plain").Get(r.Context(), "settings", metav1.GetOptions{})
	must(r.T, err)
	secret, err := kube.CoreV1().Secrets("shop-plain").Get(r.Context(), "credentials", metav1.GetOptions{})
	must(r.T, err)
	if config.Data["colour"] != "local" || string(secret.Data["password"]) != "hunter2hunter2" {
		r.Errorf("after the sync: %v, Secret as before: %v", config.Data, string(secret.Data["password"]) == "hunter2hunter2")
	}
	must(r.T, r.Hub.Get(r.Context(), key, &app))
	if len(app.Status.History) != len(before.Status.History) || app.Status.Sync.Status != v1alpha1.SyncStatusOutOfSync {
		r.Errorf("history of %d entries, was %d; %s", len(app.Status.History), len(before.Status.History), app.Status.Sync.Status)
	}
	// Who writes an operation past the server meets the same rules.
	var web v1alpha1.Application
	must(r.T, r.Hub.Get(r.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: "chart"}, &web))
	web.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Manifests: []string{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"smuggled"}}`}}}
	must(r.T, r.Hub.Update(r.Context(), &web))
	must(r.T, rig.Until(r.Context(), 30*time.Second, "the operation is refused", func(ctx context.Context) (bool, error) {
		err := r.Hub.Get(ctx, client.ObjectKeyFromObject(&web), &web)
		s := web.Status.OperationState
		return s != nil && s.Phase == v1alpha1.OperationError && strings.Contains(s.Message, "cannot use local sync"), err
	}))
	r.fine(r.core, "app", "sync", "plain", "--timeout", "120")
	r.fine(r.core, "app", "wait", "plain", "--sync", "--health", "--timeout", "60")
}

// audited waits for an event about an Application with one of the reasons that
// names the user of the kubeconfig.
func (r *coreRig) audited(namespace, name string, reasons ...string) {
	r.Helper()
	must(r.T, rig.Until(r.Context(), 10*time.Second, "an event that says who", func(ctx context.Context) (bool, error) {
		var list corev1.EventList
		if err := r.Hub.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		return slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
			return e.InvolvedObject.Name == name && slices.Contains(reasons, e.Reason) && strings.Contains(e.Message, "initiated sync") && !strings.Contains(e.Message, "Unknown user")
		}), nil
	}))
}

// dashboard is the API with the rights of the kubeconfig, for one machine.
func (r *coreRig) dashboard() {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), filepath.Join(binaries(r.T), "sluice"), "admin", "dashboard", "--port", "0", "--kubeconfig", r.kubeconfig, "-n", rig.Namespace)
	cmd.Env = append(os.Environ(), "HOME="+r.home, "XDG_CACHE_HOME="+filepath.Join(r.home, "cache"), "KUBECONFIG=")
	out, err := cmd.StdoutPipe()
	must(r.T, err)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	must(r.T, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	must(r.T, err)
	url, found := strings.CutPrefix(strings.TrimSpace(line), "Argo CD UI is available at ")
	if !found || !strings.HasPrefix(url, "http://127.0.0.1:") && !strings.HasPrefix(url, "http://[::1]:") {
		r.Fatalf("the dashboard says %q", line)
	}
	ask := func(path, host string) (int, string) {
		q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url+path, nil)
		must(r.T, err)
		if host != "" {
			q.Host = host
		}
		res, err := http.DefaultClient.Do(q)
		must(r.T, err)
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		must(r.T, err)
		return res.StatusCode, string(raw)
	}
	if code, body := ask("/api/v1/applications", ""); code != 200 || !strings.Contains(body, `"name":"alpha-web"`) {
		r.Errorf("applications: %d %s", code, body)
	}
	if code, body := ask("/api/v1/applications/plain/resource-tree", "localhost"); code != 200 || !strings.Contains(body, `"kind":"ReplicaSet"`) {
		r.Errorf("tree: %d %s", code, body)
	}
	if code, body := ask("/api/v1/applications", "evil.example.com"); code != http.StatusMisdirectedRequest || strings.Contains(body, "alpha-web") {
		r.Errorf("under a name of a stranger: %d %s", code, body)
	}
	must(r.T, cmd.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil || problem.Len() > 0 {
			r.Errorf("the dashboard ends with %v: %s", err, problem.String())
		}
	case <-time.After(20 * time.Second):
		r.Error("the dashboard does not end")
	}
}

// unreachable asks while Git and a target cluster do not answer.
func (r *coreRig) unreachable() {
	r.Helper()
	must(r.T, r.Git.Close())
	if out := r.fine(r.core, "app", "get", "plain", "-o", "tree"); !strings.Contains(out, "ReplicaSet/plain-") {
		r.Errorf("a tree without Git: %s", out)
	}
	must(r.T, r.Fleet.Run(r.Context(), "stop", "alpha"))
	if a := r.core("app", "diff", "plain"); a.Code != 20 || !strings.Contains(a.Problem, "cluster alpha does not answer") {
		r.Errorf("differences without the cluster: %+v", a)
	}
	if out := r.fine(r.core, "app", "get", "plain", "-o", "tree"); !strings.Contains(out, "Deployment/plain") {
		r.Errorf("a tree without the cluster: %s", out)
	}
	if out := r.fine(r.core, "cluster", "list"); !strings.Contains(out, "Failed") || !strings.Contains(out, "Successful") {
		r.Errorf("clusters of which one is dead: %s", out)
	}
}

func scale(t *testing.T, kube kubernetes.Interface, namespace, name string, replicas int) {
	t.Helper()
	_, err := kube.AppsV1().Deployments(namespace).Patch(t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{})
	must(t, err)
}

func kubeOf(t *testing.T, c fleet.Cluster) kubernetes.Interface {
	t.Helper()
	cfg, err := c.Config()
	must(t, err)
	kube, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	return kube
}
