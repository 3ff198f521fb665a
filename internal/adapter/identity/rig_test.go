package identity_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	clocks "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/account"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// hub keeps objects of one namespace in memory; several Keepers may share it.
type hub struct {
	mu       sync.Mutex
	secrets  map[string]*corev1.Secret
	config   map[string]*corev1.ConfigMap
	projects map[string]*v1alpha1.AppProject
	writes   int
	fail     error
}

func newHub() *hub {
	return &hub{secrets: map[string]*corev1.Secret{}, config: map[string]*corev1.ConfigMap{}, projects: map[string]*v1alpha1.AppProject{}}
}

func (h *hub) Secret(name string) (*corev1.Secret, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.secrets[name]
	return s, ok
}

func (h *hub) ConfigMap(name string) (*corev1.ConfigMap, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.config[name]
	return m, ok
}

func (h *hub) Project(name string) (*v1alpha1.AppProject, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.projects[name]
	return p, ok
}

func (h *hub) Mutate(_ context.Context, name string, change func(map[string][]byte) error) (*corev1.Secret, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	next := &corev1.Secret{}
	if s, ok := h.secrets[name]; ok {
		next = s.DeepCopy()
	}
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	before := maps.Clone(next.Data)
	if err := change(next.Data); err != nil {
		return nil, err
	}
	if !maps.EqualFunc(before, next.Data, bytes.Equal) {
		h.writes++
	}
	h.secrets[name] = next
	return next, nil
}

func (h *hub) MutateProject(_ context.Context, name string, change func(*v1alpha1.AppProject) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.projects[name]
	if !ok {
		return account.ErrUnknown
	}
	p = p.DeepCopy()
	if err := change(p); err != nil {
		return err
	}
	h.projects[name] = p
	return nil
}

func (h *hub) set(name string, data map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.config[name] = &corev1.ConfigMap{Data: data}
}

func (h *hub) breakWrites(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

// rig is one process on a hub.
type rig struct {
	*identity.Keeper
	hub   *hub
	clock *clocks.FakeClock
	log   *bytes.Buffer
}

const password = "correct horse"

func process(t *testing.T, h *hub, clk *clocks.FakeClock) *rig {
	t.Helper()
	r := &rig{hub: h, clock: clk, log: &bytes.Buffer{}}
	k, err := identity.New(identity.Options{Hub: h, Secrets: h, Projects: h, Clock: clk, Random: rand.Reader, Cost: bcrypt.MinCost, Log: slog.New(slog.NewTextHandler(r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.Keeper = k
	return r
}

// newRig has the accounts admin, alice (login, apiKey), robot (apiKey) and off
// (disabled), all with the same password.
func newRig(t *testing.T) *rig {
	t.Helper()
	h := newHub()
	h.set("argocd-cm", map[string]string{"accounts.alice": "login, apiKey", "accounts.robot": "apiKey", "accounts.off": "login", "accounts.off.enabled": "false"})
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{"server.secretkey": []byte("0123456789abcdef0123456789abcdef"), "admin.password": hashed}
	for _, name := range []string{"alice", "robot", "off"} {
		data["accounts."+name+".password"] = hashed
	}
	h.secrets["argocd-secret"] = &corev1.Secret{Data: data}
	return process(t, h, clocks.NewFakeClock(start))
}

// login tries and lets the time pass that an attempt takes.
func (r *rig) login(t *testing.T, name, password, source string) (string, error) {
	t.Helper()
	return r.wait(t, func() (string, error) {
		return r.Login(t.Context(), identity.Attempt{Name: name, Password: password, Source: source})
	})
}

func (r *rig) wait(t *testing.T, do func() (string, error)) (string, error) {
	t.Helper()
	type result struct {
		token string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		token, err := do()
		done <- result{token, err}
	}()
	for {
		select {
		case got := <-done:
			return got.token, got.err
		default:
			if r.clock.HasWaiters() {
				r.clock.Step(10 * time.Millisecond)
			}
			runtime.Gosched()
		}
	}
}

func (r *rig) token(t *testing.T, name string) string {
	t.Helper()
	token, err := r.login(t, name, password, "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

var errAway = errors.New("the hub is away")

func project(name, role string) *v1alpha1.AppProject {
	p := &v1alpha1.AppProject{}
	p.Name = name
	p.Spec.Roles = []v1alpha1.ProjectRole{{Name: role}}
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("not expected: ", err))
	}
	return v
}
