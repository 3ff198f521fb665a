package session_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	clocks "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/rbac"
	"github.com/sluice-cd/sluice/internal/server/rest"
	"github.com/sluice-cd/sluice/internal/server/session"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const password = "correct horse"

// hub keeps objects of one namespace in memory.
type hub struct {
	mu      sync.Mutex
	secrets map[string]*corev1.Secret
	config  *corev1.ConfigMap
}

func (h *hub) Secret(name string) (*corev1.Secret, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.secrets[name]
	return s, ok
}

func (h *hub) ConfigMap(string) (*corev1.ConfigMap, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.config, true
}

func (h *hub) configure(data map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.config = &corev1.ConfigMap{Data: data}
}

func (*hub) Project(string) (*v1alpha1.AppProject, bool) { return nil, false }

func (h *hub) Mutate(_ context.Context, name string, change func(map[string][]byte) error) (*corev1.Secret, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := &corev1.Secret{Data: map[string][]byte{}}
	if s, ok := h.secrets[name]; ok {
		next = s.DeepCopy()
	}
	if err := change(next.Data); err != nil {
		return nil, err
	}
	h.secrets[name] = next
	return next, nil
}

// rig is a server with accounts admin, alice (login, apiKey), bob (login) and
// robot (apiKey); bob may see and change robot.
type rig struct {
	t      *testing.T
	hub    *hub
	keeper *identity.Keeper
	clock  *clocks.FakeClock
	server *httptest.Server
	auth   *session.Authenticator
	config map[string]string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clocks.NewFakeClock(start), config: map[string]string{"accounts.alice": "login, apiKey", "accounts.bob": "login", "accounts.robot": "apiKey"}}
	r.hub = &hub{secrets: map[string]*corev1.Secret{}}
	r.hub.configure(r.config)
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{"server.secretkey": []byte("0123456789abcdef0123456789abcdef")}
	for _, name := range []string{"admin", "accounts.alice", "accounts.bob"} {
		data[name+".password"] = hashed
	}
	r.hub.secrets["argocd-secret"] = &corev1.Secret{Data: data}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r.keeper, err = identity.New(identity.Options{Hub: r.hub, Secrets: r.hub, Clock: r.clock, Random: rand.Reader, Log: log, Cost: bcrypt.MinCost})
	if err != nil {
		t.Fatal(err)
	}
	policies := rbac.NewLive()
	if _, err := policies.Load(map[string]string{"policy.csv": "p, bob, accounts, *, robot, allow\np, bob, applications, sync, p/a, allow"}); err != nil {
		t.Fatal(err)
	}
	cookies := session.Cookies{Path: "/cd", Secure: func() bool { return true }}
	service, err := session.New(session.Options{Keeper: r.keeper, Cookies: cookies, Decide: policies, Namespace: "argocd", Log: log, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r.auth = &session.Authenticator{Keeper: r.keeper, Cookies: cookies, Log: log, Clock: r.clock}
	handler, err := rest.NewHandler(rest.Options{Table: service.Routes(), Who: r.auth, Decide: policies, ContentTypes: []string{"application/json"}, Ending: context.WithoutCancel(t.Context()), Log: log, Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(handler)
	t.Cleanup(r.server.Close)
	return r
}

// token makes a session without waiting.
func (r *rig) token(name string) string {
	r.t.Helper()
	issued, err := r.keeper.Issue(name+":login", "", time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	return issued.Token
}

// answer is what came back.
type answer struct {
	status int
	body   string
	header http.Header
}

// do sends a request as somebody; the clock runs while it is answered.
func (r *rig) do(token, method, path, body string) answer {
	r.t.Helper()
	return r.send(method, path, body, func(q *http.Request) {
		if token != "" {
			q.Header.Set("Authorization", "Bearer "+token)
		}
	})
}

func (r *rig) send(method, path, body string, edit func(*http.Request)) answer {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, r.server.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	edit(q)
	done := make(chan answer, 1)
	go func() {
		res, err := r.server.Client().Do(q)
		if err != nil {
			done <- answer{body: err.Error()}
			return
		}
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		done <- answer{res.StatusCode, string(bytes.TrimSpace(raw)), res.Header}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case a := <-done:
			return a
		case <-tick.C:
			if r.clock.HasWaiters() {
				r.clock.Step(time.Second)
			}
		}
	}
}

func field(t *testing.T, body, name string) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	s, _ := v[name].(string)
	return s
}
