// Package server proves the API on a real hub: who may do what on every route,
// that no secret leaves it, and the main verbs against the real process.
package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logging "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/session"
	"github.com/sluice-cd/sluice/internal/server/store"
	"github.com/sluice-cd/sluice/test/fleet"
)

const namespace = "argocd"

// bin is the folder with the binaries.
func bin(t *testing.T) string {
	t.Helper()
	b := os.Getenv("SLUICE_BIN")
	if b == "" {
		t.Fatal("SLUICE_BIN is not set: run these tests with make test, which builds the binaries first")
	}
	return b
}

var (
	once   sync.Once
	shared struct {
		fleet *fleet.Fleet
		cfg   *rest.Config
		err   error
	}
)

func TestMain(m *testing.M) {
	logging.SetLogger(logr.Discard())
	code := m.Run()
	if shared.fleet != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := shared.fleet.Down(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// hub is the API server that all tests of the package share, with its objects.
func hub(t *testing.T) *rest.Config {
	t.Helper()
	once.Do(func() { shared.err = up(t) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return rest.CopyConfig(shared.cfg)
}

func up(t *testing.T) error {
	dir, err := os.MkdirTemp("", "sluice-server")
	if err != nil {
		return err
	}
	f, err := fleet.Up(context.Background(), fleet.Options{Bin: filepath.Join(bin(t), "fleet"), Dir: filepath.Join(dir, "f"), Clusters: "hub"})
	if err != nil {
		return err
	}
	shared.fleet = f
	if out, err := exec.Command(filepath.Join(bin(t), "sluice"), "install", "--kubeconfig", f.Clusters()[0].Kubeconfig).CombinedOutput(); err != nil {
		return fmt.Errorf("install: %w: %s", err, out)
	}
	if shared.cfg, err = f.Clusters()[0].Config(); err != nil {
		return err
	}
	c, err := client.New(shared.cfg, client.Options{Scheme: scheme()})
	if err != nil {
		return err
	}
	return plant(context.Background(), c)
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	_ = v1alpha1.AddToScheme(s) // never fails
	_ = corev1.AddToScheme(s)
	return s
}

// plant puts testdata/objects.yaml on the hub, with canaries for its secrets.
func plant(ctx context.Context, c client.Client) error {
	raw, err := os.ReadFile("testdata/objects.yaml")
	if err != nil {
		return err
	}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		kind := struct {
			Kind string `json:"kind"`
		}{}
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return err
		}
		var into client.Object
		switch kind.Kind {
		case "Application":
			into = &v1alpha1.Application{}
		case "ApplicationSet":
			into = &v1alpha1.ApplicationSet{}
		case "AppProject":
			into = &v1alpha1.AppProject{}
		case "Secret":
			into = &corev1.Secret{}
		case "ConfigMap":
			into = &corev1.ConfigMap{}
		default:
			return fmt.Errorf("kind %q", kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			return fmt.Errorf("%s: %w", kind.Kind, err)
		}
		into.SetNamespace(namespace)
		err := c.Create(ctx, into)
		if apierrors.IsAlreadyExists(err) { // made by install
			if m, ok := into.(*corev1.ConfigMap); ok {
				err = c.Update(ctx, m)
			}
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, into.GetName(), err)
		}
	}
	return nil
}

// principals are who asks; the token is the name.
var principals = []struct {
	name string
	who  access.Principal
}{
	{"none", access.Principal{}},
	{"garbage", access.Principal{}},
	{"nobody", access.Principal{Subject: "nobody", Issuer: "argocd"}},
	{"reader", access.Principal{Subject: "reader", Issuer: "argocd"}},
	{"alpha-ci", access.Principal{Subject: "proj:alpha:ci", Issuer: "argocd"}},
	{"beta-dev", access.Principal{Subject: "dev", Groups: []string{"beta-devs"}, Issuer: "https://idp"}},
	{"fenced", access.Principal{Subject: "fenced", Issuer: "argocd"}},
	{"admin", access.Principal{Subject: "admin", Issuer: "argocd"}},
}

type byName struct{}

// Authenticate believes the token, which is a name.
func (byName) Authenticate(r *http.Request) (access.Principal, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, p := range principals {
		if p.name == token && p.who.Issuer != "" {
			return p.who, nil
		}
	}
	return access.Principal{}, fault.New(fault.Unauthenticated, "no session information")
}

// world is a server in this process over the hub.
type world struct {
	*httptest.Server
	api   *server.Server
	hub   *store.Hub
	write client.Client
	log   *log
}

// log keeps what was logged.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write keeps it.
func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String is all of it.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// open starts a server; with dry run nothing that it writes stays.
func open(t *testing.T, dry bool, change func(*server.Options)) *world {
	t.Helper()
	cfg := hub(t)
	cfg.QPS = -1
	h, err := store.NewHub(namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	real, err := client.New(cfg, client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if h.Client = real; dry {
		h.Client = client.NewDryRunClient(real)
	}
	options := h.CacheOptions()
	options.Scheme = scheme()
	c, err := cache.New(cfg, options)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.Start(t.Context()) }()
	if err := h.Watch(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w := &world{hub: h, write: real, log: &log{}}
	logger := slog.New(slog.NewJSONHandler(w.log, nil))
	declared := settings.NewStore(c, namespace, logger)
	if err := declared.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { _ = declared.Run(t.Context()) }()
	known, err := session.Assemble(t.Context(), session.AssemblyOptions{
		Hub: h, BaseHRef: "/", Clock: clock.RealClock{}, Random: rand.Reader, Log: logger, Secure: func() bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	go known.Run(t.Context())
	o := server.Options{
		Config: server.Config{Gzip: true, ContentTypes: []string{"application/json"}, ReplaceAllowed: true}, Hub: h, Settings: declared.Snapshot,
		Engine: func() application.Engine { return leaky{} }, Who: byName{}, Decide: known.Policies, More: known.Routes(),
		Probe:  func(context.Context, destination.Cluster) (string, error) { return "v1.36.3", nil },
		Render: template.New(clock.RealClock{}).Render, Log: logger, Clock: clock.RealClock{},
	}
	if change != nil {
		change(&o)
	}
	if w.api, err = server.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.Server = httptest.NewServer(w.api.Handler())
	t.Cleanup(w.Close)
	return w
}

// ask sends a request as somebody and returns status, headers and body; of a
// stream the first part.
func (w *world) ask(t *testing.T, as, method, path, body string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if as != "none" {
		q.Header.Set("Authorization", "Bearer "+as)
	}
	if method != http.MethodGet {
		q.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatalf("%s %s as %s: %v", method, path, as, err)
	}
	defer resp.Body.Close()
	if strings.HasPrefix(path, "/api/v1/stream/") && resp.StatusCode == http.StatusOK {
		first := make([]byte, 1<<20)
		n := 0
		stop := time.AfterFunc(300*time.Millisecond, cancel)
		defer stop.Stop()
		for {
			m, err := resp.Body.Read(first[n:])
			if n += m; err != nil || n == len(first) {
				return resp.StatusCode, resp.Header, string(first[:n])
			}
		}
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s as %s: %v", method, path, as, err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

// forms are the ways in which a canary could show.
func forms(canary string) []string {
	out := []string{canary, fmt.Sprintf("%x", canary), strings.ReplaceAll(canary, "-", "%2D")}
	for pad := range 3 { // the three alignments of base64, without the ends
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", pad) + canary + "xx"))
		out = append(out, encoded[4:len(encoded)-4])
	}
	reversed := []rune(canary)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	return append(out, string(reversed))
}
