package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// apiServer is a running `sluice server`.
type apiServer struct {
	t    *testing.T
	r    *rig.Rig
	base string
	stop func()
}

// serve starts a server and waits until it answers.
func serve(t *testing.T, r *rig.Rig, args ...string) *apiServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	must(t, listener.Close())
	log, err := os.OpenFile(r.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer log.Close()
	args = append([]string{"server", "--kubeconfig", r.HubPart.Kubeconfig, "--address", "127.0.0.1", "--port", port, "--metrics-port", "0", "--insecure", "--logformat", "text"}, args...)
	cmd := exec.Command(filepath.Join(binaries(t), "sluice"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	s := &apiServer{t: t, r: r, base: "http://127.0.0.1:" + port}
	s.stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(s.stop)
	must(t, rig.Until(t.Context(), 60*time.Second, "the server answers", func(ctx context.Context) (bool, error) {
		status, _, err := s.ask(ctx, "", "GET", "/healthz", "")
		return status == 200, err
	}))
	return s
}

func (s *apiServer) ask(ctx context.Context, token, method, path, body string) (int, string, error) {
	q, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	q.Header.Set("Content-Type", "application/json")
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

func (s *apiServer) expect(token, method, path, body string, status int) string {
	s.t.Helper()
	got, answer, err := s.ask(s.t.Context(), token, method, path, body)
	must(s.t, err)
	if got != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return answer
}

// within waits for an answer and says how long it took after the change.
func (s *apiServer) within(limit time.Duration, token, path string, status int) {
	s.t.Helper()
	must(s.t, rig.Until(s.t.Context(), limit, fmt.Sprintf("GET %s is %d", path, status), func(ctx context.Context) (bool, error) {
		got, answer, err := s.ask(ctx, token, "GET", path, "")
		if err == nil && got != status {
			err = fmt.Errorf("%d %s", got, answer)
		}
		return got == status, err
	}))
}

func tokenIn(t *testing.T, answer string) string {
	t.Helper()
	var v struct{ Token string }
	must(t, json.Unmarshal([]byte(answer), &v))
	return v.Token
}

func secretOf(t *testing.T, r *rig.Rig, name string) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{}
	must(t, r.Hub.Get(t.Context(), client.ObjectKey{Namespace: "argocd", Name: name}, s))
	return s
}

// patched merges into an object of the control plane.
func patched(t *testing.T, r *rig.Rig, o client.Object, name, patch string) {
	t.Helper()
	o.SetNamespace("argocd")
	o.SetName(name)
	must(t, r.Hub.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// TestIdentity runs a server on a real hub: first start, logins, accounts and
// policies that change while it runs, tokens of roles, and a restart.
func TestIdentity(t *testing.T) {
	r := start(t, "")
	s := serve(t, r)
	initial := string(secretOf(t, r, "argocd-initial-admin-secret").Data["password"])
	login := func(name, password string, status int) string {
		t.Helper()
		body, err := json.Marshal(map[string]string{"username": name, "password": password})
		must(t, err)
		return s.expect("", "POST", "/api/v1/session", string(body), status)
	}
	admin := tokenIn(t, login("admin", initial, 200))
	login("admin", "wrong", 401)
	if raw, err := os.ReadFile(r.Log()); err != nil || bytes.Contains(raw, []byte(initial)) {
		t.Errorf("the password is in the log, or there is none: %v", err)
	}
	s.expect(admin, "GET", "/api/v1/applications", "", 200)
	s.expect("", "GET", "/api/v1/applications", "", 401)

	patched(t, r, &corev1.ConfigMap{}, "argocd-cm", `{"data":{"accounts.alice":"login, apiKey"}}`)
	s.within(time.Second, admin, "/api/v1/account/alice", 200)
	alice := tokenIn(t, s.expect(admin, "POST", "/api/v1/account/alice/token", `{"id":"ci"}`, 200))
	s.expect(alice, "GET", "/api/v1/account/admin", "", 403)
	policies := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-rbac-cm"}, Data: map[string]string{"policy.csv": "p, alice, accounts, get, admin, allow"}}
	must(t, client.IgnoreAlreadyExists(r.Hub.Create(t.Context(), policies)))
	patched(t, r, &corev1.ConfigMap{}, "argocd-rbac-cm", `{"data":{"policy.csv":"p, alice, accounts, get, admin, allow"}}`)
	s.within(time.Second, alice, "/api/v1/account/admin", 200)
	patched(t, r, &corev1.ConfigMap{}, "argocd-rbac-cm", `{"data":{"policy.csv":"p, alice"}}`)
	s.expect(alice, "GET", "/api/v1/account/admin", "", 200) // the previous policy stays
	patched(t, r, &corev1.ConfigMap{}, "argocd-rbac-cm", `{"data":{"policy.csv":""}}`)
	s.within(time.Second, alice, "/api/v1/account/admin", 403)

	webhooks(t, r, s)
	audited(t, r, s, admin)
	s.stop() // nothing is lost with the process
	s = serve(t, r)
	s.expect(admin, "GET", "/api/v1/applications", "", 200)
	s.expect(alice, "GET", "/api/v1/account/alice", "", 200)
	patched(t, r, &corev1.ConfigMap{}, "argocd-cm", `{"data":{"accounts.alice.enabled":"false"}}`)
	s.within(time.Second, alice, "/api/v1/account/alice", 401)
	if again := string(secretOf(t, r, "argocd-initial-admin-secret").Data["password"]); again != initial {
		t.Error("a restart makes another password")
	}
	if data := secretOf(t, r, "sluice-sessions").Data; !bytes.Contains(data["logins.json"], []byte("admin")) {
		t.Errorf("the failed login is not in the ledger: %s", data)
	}
}

// webhooks sends a push about an Application, unsigned and then with a secret.
func webhooks(t *testing.T, r *rig.Rig, s *apiServer) {
	t.Helper()
	app := &v1alpha1.Application{}
	must(t, r.Apply(t.Context(), `{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: hooked, namespace: argocd},
spec: {project: default, source: {repoURL: "https://git.example.com/acme/shop", path: a, targetRevision: main}, destination: {name: in-cluster, namespace: x}}}`, app))
	push := func(after, token string) int {
		t.Helper()
		body := `{"object_kind":"push","ref":"refs/heads/main","after":"` + after + `","project":{"web_url":"https://git.example.com/acme/shop","default_branch":"main"}}`
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/api/webhook", strings.NewReader(body))
		must(t, err)
		q.Header.Set("X-Gitlab-Event", "Push Hook")
		q.Header.Set("X-Gitlab-Token", token)
		res, err := http.DefaultClient.Do(q)
		must(t, err)
		must(t, res.Body.Close())
		return res.StatusCode
	}
	marked := func(before func() error) {
		t.Helper()
		must(t, rig.Until(t.Context(), 20*time.Second, "the Application is marked", func(ctx context.Context) (bool, error) {
			if err := before(); err != nil {
				return false, err
			}
			err := r.Hub.Get(ctx, client.ObjectKey{Namespace: "argocd", Name: "hooked"}, app)
			return app.Annotations[v1alpha1.AnnotationRefresh] == "normal", err
		}))
	}
	// a push that the server hears before it has seen the new Application is lost,
	// as it must be: so each look is after another push
	marked(func() error {
		if status := push(fmt.Sprint(time.Now().UnixNano()), ""); status != 200 {
			return fmt.Errorf("an unsigned push without a secret: %d", status)
		}
		return nil
	})
	patched(t, r, &v1alpha1.Application{}, "hooked", `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":null}}}`)
	patched(t, r, &corev1.Secret{}, "argocd-secret", `{"stringData":{"webhook.gitlab.secret":"shared"}}`)
	must(t, rig.Until(t.Context(), time.Second, "the secret is demanded", func(context.Context) (bool, error) {
		return push(fmt.Sprint(time.Now().UnixNano()), "guess") == 400, nil
	}))
	patched(t, r, &v1alpha1.Application{}, "hooked", `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":null}}}`)
	if status := push("3", "shared"); status != 200 {
		t.Errorf("a push with the secret: %d", status)
	}
	marked(func() error { return nil })
}

// audited deletes the Application and finds who did it, in the log and as an
// event.
func audited(t *testing.T, r *rig.Rig, s *apiServer, token string) {
	t.Helper()
	s.expect(token, "DELETE", "/api/v1/applications/hooked?cascade=false", "", 200)
	must(t, rig.Until(t.Context(), 20*time.Second, "an event says who deleted the Application", func(ctx context.Context) (bool, error) {
		var events corev1.EventList
		if err := r.Hub.List(ctx, &events, client.InNamespace("argocd")); err != nil {
			return false, err
		}
		for _, e := range events.Items {
			if e.Reason == "ResourceDeleted" && e.InvolvedObject.Name == "hooked" && strings.HasPrefix(e.Message, "admin ") && e.Source.Component == "argocd-server" {
				return true, nil
			}
		}
		return false, nil
	}))
	raw, err := os.ReadFile(r.Log())
	must(t, err)
	if !bytes.Contains(raw, []byte("msg=audit")) || !bytes.Contains(raw, []byte("Application/argocd/hooked")) {
		t.Error("the log does not say who deleted the Application")
	}
}
