package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/identity"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/project"
	"github.com/sluice-cd/sluice/internal/server/repository"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// reached are repositories that can all be read, and hold nothing.
type reached struct{}

// Test says yes.
func (reached) Test(context.Context, repo.Repository) error { return nil }

// Refs are none.
func (reached) Refs(context.Context, repo.Repository) (branches, tags []string, err error) {
	return nil, nil, nil
}

// Tags are none.
func (reached) Tags(context.Context, repo.Repository) ([]string, error) { return nil, nil }

// Charts are none.
func (reached) Charts(context.Context, repo.Repository) (map[string][]string, error) { return nil, nil }

// Files are none.
func (reached) Files(context.Context, repo.Repository, v1alpha1.ApplicationSource) (tree.Tree, error) {
	return nil, fmt.Errorf("nothing is here")
}

// tokens makes tokens of project roles as the product does.
type tokens struct{ keeper *identity.Keeper }

func issuer(t *testing.T, h *store.Hub) tokens {
	t.Helper()
	objects := &identity.Store{Client: h.Client, Namespace: namespace, Wrote: func(o client.Object) {
		if p, ok := o.(*v1alpha1.AppProject); ok {
			h.Projects.Wrote(p)
		}
	}}
	keeper, err := identity.New(identity.Options{Hub: h, Secrets: objects, Projects: objects, Clock: clock.RealClock{}, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	return tokens{keeper}
}

// CreateProjectToken makes one.
func (k tokens) CreateProjectToken(ctx context.Context, q project.TokenRequest) (string, error) {
	return k.keeper.CreateProjectToken(ctx, identity.ProjectToken{Project: q.Project, Role: q.Role, ID: q.ID, Lifetime: time.Duration(q.ExpiresIn) * time.Second})
}

// DeleteProjectToken ends one.
func (k tokens) DeleteProjectToken(ctx context.Context, name, role, id string, issuedAt int64) error {
	return k.keeper.DeleteProjectToken(ctx, identity.ProjectToken{Project: name, Role: role, ID: id}, issuedAt)
}

// states are shared states of objects with copies of what they were when they
// came: nobody may change what others read.
type states struct {
	mu   sync.Mutex
	all  []func() string
	done sync.WaitGroup
}

// remember follows an index until ctx ends.
func remember[T client.Object](ctx context.Context, s *states, x *store.Index[T]) {
	w := x.Watch(func(T) bool { return true }, true)
	s.done.Go(func() {
		defer w.Stop()
		for {
			changes, err := w.Next(ctx)
			if err != nil {
				return
			}
			s.mu.Lock()
			for _, c := range changes {
				shared := c.Value.Object
				was := shared.DeepCopyObject()
				s.all = append(s.all, func() string {
					if equality.Semantic.DeepEqual(was, client.Object(shared)) {
						return ""
					}
					return fmt.Sprintf("%T %s", shared, shared.GetName())
				})
			}
			s.mu.Unlock()
		}
	})
}

// changed names the states that were changed, and says how many there were.
func (s *states) changed() (names []string, total int) {
	s.done.Wait()
	for _, one := range s.all {
		if name := one(); name != "" {
			names = append(names, name)
		}
	}
	return names, len(s.all)
}

// declarations are requests about the n-th declaration of each kind; every
// worker sends them all.
func declarations(n int) [][3]string {
	at := fmt.Sprintf("https://git.example/race-%d", n)
	in, cluster, name := url.PathEscape(at), url.PathEscape(fmt.Sprintf("https://race-%d.example", n)), fmt.Sprintf("race-%d", n)
	var out [][3]string
	for _, kind := range []string{"repositories", "write-repositories"} {
		out = append(out, [][3]string{
			{"POST", "/api/v1/" + kind + "?upsert=true", fmt.Sprintf(`{"repo":%q,"username":"u","password":"%s"}`, at, canary("race"))},
			{"GET", "/api/v1/" + kind, ""}, {"GET", "/api/v1/" + kind + "/" + in, ""}, {"GET", "/api/v1/" + kind + "/" + in + "?forceRefresh=true", ""},
			{"PUT", "/api/v1/" + kind + "/" + in, fmt.Sprintf(`{"repo":%q,"username":"other"}`, at)}, {"DELETE", "/api/v1/" + kind + "/" + in, ""},
		}...)
	}
	for _, kind := range []string{"repocreds", "write-repocreds"} {
		out = append(out, [][3]string{
			{"POST", "/api/v1/" + kind + "?upsert=true", fmt.Sprintf(`{"url":%q,"username":"u","password":"%s"}`, at, canary("race"))},
			{"GET", "/api/v1/" + kind, ""}, {"PUT", "/api/v1/" + kind + "/" + in, fmt.Sprintf(`{"url":%q,"username":"other"}`, at)}, {"DELETE", "/api/v1/" + kind + "/" + in, ""},
		}...)
	}
	return append(out, [][3]string{
		{"POST", "/api/v1/clusters?upsert=true", fmt.Sprintf(`{"server":"https://race-%d.example","name":%q,"config":{"bearerToken":"%s"},"labels":{"a":"b"}}`, n, name, canary("race"))},
		{"GET", "/api/v1/clusters", ""}, {"GET", "/api/v1/clusters/" + cluster, ""}, {"PUT", "/api/v1/clusters/" + cluster + "?updatedFields=labels", `{"labels":{"c":"d"}}`},
		{"POST", "/api/v1/clusters/" + cluster + "/invalidate-cache", "{}"}, {"DELETE", "/api/v1/clusters/" + cluster, ""},
		{"POST", "/api/v1/projects?upsert=true", fmt.Sprintf(`{"project":{"metadata":{"name":%q},"spec":{"sourceRepos":["*"],"roles":[{"name":"ci","policies":["p, proj:%s:ci, applications, get, %s/*, allow"]}]}}}`, name, name, name)},
		{"GET", "/api/v1/projects", ""}, {"GET", "/api/v1/projects/" + name + "/detailed", ""}, {"POST", "/api/v1/projects/" + name + "/roles/ci/token", `{"expiresIn":60}`},
		{"PUT", "/api/v1/projects/" + name, fmt.Sprintf(`{"project":{"metadata":{"name":%q},"spec":{"description":"d","sourceRepos":["*"]}}}`, name)}, {"DELETE", "/api/v1/projects/" + name, ""},
		{"POST", "/api/v1/certificates?upsert=true", fmt.Sprintf(`{"items":[{"serverName":"race-%d.example","certType":"ssh","certSubType":"ssh-ed25519","certData":"AAAAC3NzaC1lZDI1NTE5AAAAIKZtbtNhfJ6+5YpP5ppmPKNPVDQZKFuG1Y1dGQ5Cd4mS"}]}`, n)},
		{"GET", "/api/v1/certificates", ""}, {"DELETE", fmt.Sprintf("/api/v1/certificates?hostNamePattern=race-%d.example", n), ""},
		{"GET", "/api/v1/applications", ""}, {"GET", "/api/v1/settings", ""},
	}...)
}

// TestDeclarationsAreWrittenAtOnce is T-55191: sixty-four workers write, read and
// delete the same few declarations of all kinds. Nothing breaks, and nobody
// changes an object that others read. It is run under the race detector too.
func TestDeclarationsAreWrittenAtOnce(t *testing.T) {
	w := open(t, false, func(o *server.Options) {
		o.Remotes = func() repository.Remotes { return reached{} }
		o.Tokens = issuer(t, o.Hub)
	})
	params := &corev1.ConfigMap{Data: map[string]string{"hydrator.enabled": "true"}} // for this server alone
	params.Name, params.Namespace, params.UID = "argocd-cmd-params-cm", namespace, "of-the-test"
	w.hub.ConfigMaps.Put(params)
	seen := &states{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	remember(ctx, seen, w.hub.Secrets)
	remember(ctx, seen, w.hub.ConfigMaps)
	remember(ctx, seen, w.hub.Projects)
	remember(ctx, seen, w.hub.Apps)
	const workers, names = 64, 4
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for worker := range workers {
		all.Go(func() {
			requests := declarations(worker % names)
			for i := range requests {
				q := requests[(i+worker)%len(requests)] // each begins elsewhere
				status, answer, err := w.send(ctx, q)
				mu.Lock()
				answers[status]++
				mu.Unlock()
				if err != nil || status >= http.StatusInternalServerError || strings.Contains(answer, marker) {
					t.Errorf("%s %s: %d %s %v", q[0], q[1], status, answer, err)
				}
			}
		})
	}
	all.Wait()
	stop()
	if answers[http.StatusOK] < workers*10 {
		t.Errorf("little was done: %v", answers)
	}
	if names, total := seen.changed(); len(names) > 0 || total < workers {
		t.Errorf("of %d shared states these were changed: %v", total, names)
	}
	if text := w.log.String(); strings.Contains(text, "failed unexpectedly") || strings.Contains(text, canary("race")) {
		t.Errorf("the log: %s", text)
	}
	for n := range names { // the hub is that of other tests too
		for _, q := range declarations(n) {
			if q[0] == http.MethodDelete {
				_, _, err := w.send(t.Context(), q)
				must(t, err)
			}
		}
	}
}

// send asks as the administrator.
func (w *world) send(ctx context.Context, q [3]string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, q[0], w.URL+q[1], strings.NewReader(q[2]))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer admin")
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}
