//go:build soak

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/chaos"
	"github.com/sluice-cd/sluice/test/rig"
)

// TestClusterCredentials deploys through every form of credentials that a
// cluster Secret may hold, rotates them, and restricts what is seen.
func TestClusterCredentials(t *testing.T) {
	dir := t.TempDir()
	f := &forms{T: t, refused: map[string]bool{}, plugin: filepath.Join(dir, "bin", "argocd-k8s-auth"), calls: filepath.Join(dir, "calls"), token: filepath.Join(dir, "token")}
	out, err := exec.Command("go", "build", "-o", f.plugin, "./testdata/authplugin").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PATH", filepath.Dir(f.plugin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("AUTHPLUGIN_LOG", f.calls)
	t.Setenv("AUTHPLUGIN_TOKEN", f.token)
	f.rig = start(t, "one:env=test")
	f.one, err = f.rig.Fleet.Cluster("one")
	must(t, err)
	f.admin, err = f.one.Config()
	must(t, err)
	f.core, err = kubernetes.NewForConfig(f.admin)
	must(t, err)
	metrics := "127.0.0.1:" + freePort(t)
	must(t, f.rig.Launch("--metrics-addr", metrics))
	parts := []struct {
		name string
		run  func(*forms)
	}{
		{"bearer token", (*forms).bearer}, {"user and password", (*forms).basic}, {"programs", (*forms).programs}, {"proxy", (*forms).proxy},
		{"namespaced", (*forms).namespaced}, {"broken", (*forms).broken}, {"kinds left out", (*forms).leftOut},
		{"metrics", func(f *forms) { f.metrics(metrics) }},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			part := &forms{T: t, rig: f.rig, one: f.one, admin: f.admin, core: f.core, plugin: f.plugin, calls: f.calls, token: f.token, refused: f.refused}
			p.run(part)
		})
	}
}

// bearer deploys with a token, has it refused, and with a new one in the
// Secret goes on at once. No token is ever logged.
func (f *forms) bearer() {
	old, fresh := f.account("bearer-old"), f.account("bearer-new")
	p := f.door(nil)
	f.register("form-bearer", p.URL(), tlsOf(p, map[string]any{"bearerToken": old}), nil)
	id := f.deploy("form-bearer", config("1"))
	good(f.T, f.rig, "form-bearer", id)
	if got := f.writers("form-bearer"); !slices.Equal(got, []string{"system:serviceaccount:default:bearer-old"}) {
		f.Errorf("written by %v", got)
	}
	f.mu.Lock()
	f.refused[old] = true
	f.mu.Unlock()
	p.Hang()
	f.unknown("form-bearer", "asked for the client to provide credentials")
	id = f.commit("form-bearer", config("2"))
	f.secret("form-bearer", tlsOf(p, map[string]any{"bearerToken": fresh}))
	good(f.T, f.rig, "form-bearer", id)
	if got := f.writers("form-bearer"); !slices.Contains(got, "system:serviceaccount:default:bearer-new") {
		f.Errorf("written by %v", got)
	}
	log, err := os.ReadFile(f.rig.Log())
	must(f.T, err)
	for _, token := range []string{old, fresh} {
		if strings.Contains(string(log), token) {
			f.Error("the log shows a token")
		}
	}
}

// basic deploys with user and password, which API servers no longer know: a
// proxy asks for them.
func (f *forms) basic() {
	var asked atomic.Int32
	p := f.door(func(r *http.Request) bool {
		user, password, ok := r.BasicAuth()
		if ok = ok && user == "admin" && password == "s3cret,word"; ok {
			asked.Add(1)
		}
		return ok
	})
	f.register("form-basic", p.URL(), tlsOf(p, map[string]any{"username": "admin", "password": "s3cret,word"}), nil)
	good(f.T, f.rig, "form-basic", f.deploy("form-basic", config("1")))
	if asked.Load() == 0 {
		f.Error("nobody came with user and password")
	}
}

// programs deploys with the programs of three clouds and with one that wants
// to know the cluster; a token that is refused is asked for anew.
func (f *forms) programs() {
	old, fresh := f.account("program-old"), f.account("program-new")
	must(f.T, os.WriteFile(f.token, []byte(old), 0o600))
	doors := map[string]*chaos.Proxy{}
	for name, config := range map[string]map[string]any{
		"form-eks": {"awsAuthConfig": map[string]any{"clusterName": "prod", "roleARN": "arn:aws:iam::1:role/deployer", "profile": "ops"}, "bearerToken": "never-used"},
		"form-gke": {"execProviderConfig": map[string]any{"command": "argocd-k8s-auth", "args": []string{"gcp"}, "apiVersion": "client.authentication.k8s.io/v1beta1"}},
		"form-aks": {"execProviderConfig": map[string]any{"command": "argocd-k8s-auth", "args": []string{"azure"}, "env": map[string]string{"AAD_LOGIN_METHOD": "workloadidentity"}, "apiVersion": "client.authentication.k8s.io/v1beta1"}},
		"form-own": {"execProviderConfig": map[string]any{"command": f.plugin, "apiVersion": "client.authentication.k8s.io/v1", "provideClusterInfo": true, "config": map[string]any{"audience": "here"}}},
	} {
		doors[name] = f.door(nil)
		f.register(name, doors[name].URL(), tlsOf(doors[name], config), nil)
		f.deploy(name, config1)
	}
	head, err := f.rig.Repo.Git("rev-parse", "HEAD")
	must(f.T, err)
	for name := range doors {
		good(f.T, f.rig, name, strings.TrimSpace(head))
	}
	raw, err := os.ReadFile(f.calls)
	must(f.T, err)
	for _, want := range []string{
		`"args":["aws","--cluster-name","prod","--role-arn","arn:aws:iam::1:role/deployer","--profile","ops"]`,
		`"args":["gcp"]`, `"args":["azure"],"info":"{`, `"method":"workloadidentity"`, `\"audience\":\"here\"`, doors["form-own"].URL(),
	} {
		if !strings.Contains(string(raw), want) {
			f.Errorf("no program was called with %s in\n%s", want, raw)
		}
	}
	must(f.T, os.WriteFile(f.token, []byte(fresh), 0o600))
	f.mu.Lock()
	f.refused[old] = true
	f.mu.Unlock()
	for _, p := range doors {
		p.Hang()
	}
	id := f.commit("form-eks", config("2"))
	good(f.T, f.rig, "form-eks", id)
	if got := f.writers("form-eks"); !slices.Contains(got, "system:serviceaccount:default:program-new") {
		f.Errorf("written by %v", got)
	}
}

// proxy deploys through a proxy for connections.
func (f *forms) proxy() {
	var tunnels atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only tunnels", http.StatusMethodNotAllowed)
			return
		}
		if user, password, _ := proxyAuth(r); user != "gate" || password != "k33per" {
			w.Header().Set("Proxy-Authenticate", "Basic")
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		tunnel(w, r.Host)
		tunnels.Add(1)
	}))
	f.Cleanup(proxy.Close)
	p := f.door(nil)
	address := strings.Replace(proxy.URL, "http://", "http://gate:k33per@", 1)
	f.register("form-proxy", p.URL(), tlsOf(p, map[string]any{"bearerToken": f.account("proxied"), "proxyUrl": strings.Replace(address, "k33per", "wrong", 1)}), nil)
	id := f.deploy("form-proxy", config1)
	f.unknown("form-proxy", "Proxy Authentication Required")
	app, err := get(f.Context(), f.rig, "form-proxy")
	must(f.T, err)
	if strings.Contains(fmt.Sprint(app.Status), "wrong") {
		f.Errorf("the status shows the password of the proxy: %+v", app.Status.Conditions)
	}
	current := &corev1.Secret{}
	must(f.T, f.rig.Hub.Get(f.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: "form-proxy"}, current))
	var fields map[string]any
	must(f.T, json.Unmarshal(current.Data["config"], &fields))
	fields["proxyUrl"] = address
	f.secret("form-proxy", fields)
	good(f.T, f.rig, "form-proxy", id)
	if tunnels.Load() == 0 {
		f.Error("nobody came through the proxy")
	}
}

const clusterRole = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: form-spaces}
rules: []
`

// namespaced deploys with an account that may look into two namespaces only.
func (f *forms) namespaced() {
	token := f.account("spaces", "form-spaces", "form-spaces-b")
	p := f.door(nil)
	f.register("form-spaces", p.URL(), tlsOf(p, map[string]any{"bearerToken": token}), map[string]string{"namespaces": "form-spaces, form-spaces-b"})
	both := config1 + "---\n" + strings.Replace(config1, "{name: side}", "{name: side, namespace: form-spaces-b}", 1)
	good(f.T, f.rig, "form-spaces", f.deploy("form-spaces", both))
	lines, err := f.one.AuditLines()
	must(f.T, err)
	for _, a := range lines {
		if strings.HasSuffix(a.User.Username, ":spaces") && (a.Verb == "list" || a.Verb == "watch") && !strings.HasPrefix(a.ObjectRef.Namespace, "form-spaces") {
			f.Errorf("looked at %s in namespace %q", a.ObjectRef.Resource, a.ObjectRef.Namespace)
		}
	}
	prints(f.T, f.rig, "one", "1", "get", "configmap", "side", "-n", "form-spaces-b", "-o", "jsonpath={.data.version}")
	f.commit("form-spaces", both+"---\n"+strings.Replace(config1, "{name: side}", "{name: side, namespace: elsewhere}", 1)+clusterRole)
	(&stack{T: f.T, rig: f.rig}).until("form-spaces", "objects out of sight are named", func(app *v1alpha1.Application) bool {
		text := fmt.Sprint(app.Status.Conditions)
		return app.Status.Sync.Status == v1alpha1.SyncStatusUnknown && strings.Contains(text, `Namespace "elsewhere" for ConfigMap "side" is not managed`) &&
			strings.Contains(text, `Cluster level ClusterRole "form-spaces" can not be managed when in namespaced mode`)
	})
	id := f.commit("form-spaces", config("2")+"---\n"+strings.Replace(config1, "{name: side}", "{name: side, namespace: form-spaces-b}", 1))
	good(f.T, f.rig, "form-spaces", id)
}

// broken registers what cannot work: each says so and nothing else suffers.
func (f *forms) broken() {
	p := f.door(nil)
	f.register("form-broken", p.URL(), map[string]any{"tlsClientConfig": map[string]any{"insecure": true, "caData": p.CA()}}, nil)
	id := f.deploy("form-broken", config1)
	f.unknown("form-broken", "insecure and caData exclude each other")
	f.secret("form-broken", map[string]any{"bearerToken": f.account("broken")})
	f.unknown("form-broken", "certificate")
	f.secret("form-broken", map[string]any{"execProviderConfig": map[string]any{"command": "no-such-program", "apiVersion": "client.authentication.k8s.io/v1", "installHint": "ask the platform team"}, "tlsClientConfig": map[string]any{"caData": p.CA()}})
	f.unknown("form-broken", "ask the platform team")
	f.secret("form-broken", map[string]any{"bearerToken": f.account("mended"), "tlsClientConfig": map[string]any{"insecure": true}})
	good(f.T, f.rig, "form-broken", id)
}

// leftOut excludes a kind: it is not written, and what is there of it stays.
func (f *forms) leftOut() {
	const secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: kept}\nstringData: {a: b}\n"
	p := f.door(nil)
	f.register("form-kinds", p.URL(), tlsOf(p, map[string]any{"bearerToken": f.account("kinds")}), nil)
	good(f.T, f.rig, "form-kinds", f.deploy("form-kinds", config1+secret))
	setting(f.T, f.rig, "resource.exclusions", "[{apiGroups: [''], kinds: [Secret], clusters: ['"+p.URL()+"']}]")
	f.commit("form-kinds", config("2")+strings.Replace(secret, "a: b", "a: c", 1))
	must(f.T, rig.Until(f.Context(), 40*time.Second, "a warning", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, f.rig, "form-kinds")
		if err != nil {
			return false, err
		}
		text := fmt.Sprint(app.Status.Conditions)
		return strings.Contains(text, "ExcludedResourceWarning Resource /Secret kept is excluded in the settings") && len(app.Status.Resources) == 1 && app.Status.Sync.Status == v1alpha1.SyncStatusSynced, nil
	}))
	prints(f.T, f.rig, "one", "2", "get", "configmap", "side", "-n", "form-kinds", "-o", "jsonpath={.data.version}")
	good(f.T, f.rig, "form-kinds", f.commit("form-kinds", config("3")))
	prints(f.T, f.rig, "one", "b", "get", "secret", "kept", "-n", "form-kinds", "-o", "go-template={{.data.a | base64decode}}")
	setting(f.T, f.rig, "resource.exclusions", "")
	must(f.T, rig.Until(f.Context(), 40*time.Second, "what is seen again is pruned", func(context.Context) (bool, error) {
		out, err := kubectl(f.T, f.rig, "one", "get", "secret", "kept", "-n", "form-kinds", "--ignore-not-found", "-o", "name")
		return out == "", err
	}))
}

// metrics shows one connection that answers and one that does not.
func (f *forms) metrics(address string) {
	f.register("form-gone", "https://127.0.0.1:1", map[string]any{"bearerToken": "x"}, nil)
	f.deploy("form-gone", config1)
	f.unknown("form-gone", "connection refused")
	version, err := f.core.Discovery().ServerVersion()
	must(f.T, err)
	want := []string{
		fmt.Sprintf(`argocd_cluster_connection_status{k8s_version=%q,server=%q} 1`, version.GitVersion, f.one.Server),
		fmt.Sprintf(`argocd_cluster_info{k8s_version=%q,name="one",server=%q} 1`, version.GitVersion, f.one.Server),
		`argocd_cluster_connection_status{k8s_version="",server="https://127.0.0.1:1"} 0`,
		`argocd_cluster_cache_age_seconds{server="https://127.0.0.1:1"} -1`,
	}
	must(f.T, rig.Until(f.Context(), 20*time.Second, "the gauges", func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		var lines []string
		for s := bufio.NewScanner(response.Body); s.Scan(); {
			if strings.HasPrefix(s.Text(), "argocd_cluster_") {
				lines = append(lines, s.Text())
			}
		}
		for _, w := range want {
			if !slices.Contains(lines, w) {
				return false, fmt.Errorf("no %s in\n%s", w, strings.Join(lines, "\n"))
			}
		}
		return true, nil
	}))
	must(f.T, f.rig.Hub.Delete(f.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "form-gone", Namespace: rig.Namespace}}))
	f.unknown("form-gone", "form-gone")
}

// unknown waits until an Application says that nothing is known, and why.
func (f *forms) unknown(name, why string) {
	f.Helper()
	must(f.T, rig.Until(f.Context(), 40*time.Second, name+" is Unknown because of "+why, func(ctx context.Context) (bool, error) {
		app, err := get(ctx, f.rig, name)
		if err != nil {
			return false, err
		}
		text := fmt.Sprint(app.Status.Conditions)
		if app.Status.Sync.Status == v1alpha1.SyncStatusUnknown && app.Status.Health.Status == v1alpha1.HealthUnknown && strings.Contains(text, why) {
			return true, nil
		}
		return false, fmt.Errorf("%s, %s, %s", app.Status.Sync.Status, app.Status.Health.Status, text)
	}))
}
