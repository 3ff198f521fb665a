package repository

import (
	"context"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// creator may create and see, and nothing else.
type creator struct{}

func (creator) Allowed(_ access.Principal, what access.Request) bool {
	return what.Action == "create" || what.Action == "get"
}

// counted are remotes that count trials.
type counted struct {
	Remotes
	n int
}

func (c *counted) Test(context.Context, repo.Repository) error { c.n++; return nil }

// rig is a service over these Secrets and argocd-cmd-params-cm.
func rig(t *testing.T, remotes Remotes, params map[string]string, secrets ...*corev1.Secret) (*Service, *testclock.FakePassiveClock) {
	t.Helper()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	hub.Client = fake.NewClientBuilder().Build()
	for _, s := range secrets {
		hub.Secrets.Put(s)
	}
	clock := testclock.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	return New(Options{
		Hub: hub, Remotes: func() Remotes { return remotes }, Log: slog.New(slog.DiscardHandler), Clock: clock,
		Settings: func() *settings.Snapshot { return &settings.Snapshot{Params: params} },
	}), clock
}

func declared(name, kind string, data ...string) *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{}}
	s.Name, s.Namespace, s.ResourceVersion = name, "argocd", "1"
	s.Labels = map[string]string{v1alpha1.LabelSecretType: kind}
	for i := 0; i < len(data); i += 2 {
		s.Data[data[i]] = []byte(data[i+1])
	}
	return s
}

func (s *Service) asked(t *testing.T, operation string, f family) *asked {
	t.Helper()
	for _, line := range s.Routes() {
		if line.Operation() == operation {
			return &asked{Call: route.NewCall(&line, access.Principal{Subject: "ann", Issuer: "argocd"}, creator{}), family: f}
		}
	}
	t.Fatalf("no operation %s", operation)
	return nil
}

// TestCredentialsOfATemplateAreInherited: a repository says whether a template
// lends it credentials, and never which.
func TestCredentialsOfATemplateAreInherited(t *testing.T) {
	t.Parallel()
	s, _ := rig(t, &counted{}, nil,
		declared("t", "repo-creds", "url", "https://git.example/team", "password", "canary"),
		declared("a", "repository", "url", "https://git.example/team/a"),
		declared("b", "repository", "url", "https://git.example/team/b", "username", "own"),
		declared("c", "repository", "url", "https://git.example/team/c", "useAzureWorkloadIdentity", "true"),
		declared("d", "repository", "url", "https://git.example/other/d"),
	)
	list, err := s.list(t.Context(), s.asked(t, "ListRepositories", reading), &Query{})
	if err != nil || len(list.Items) != 4 {
		t.Fatal(list, err)
	}
	for _, r := range list.Items {
		if want := r.Repo == "https://git.example/team/a"; r.InheritedCreds != want {
			t.Errorf("%s inherits: %v", r.Repo, r.InheritedCreds)
		}
	}
}

// TestDeclaringTwiceIsOne: what is declared as it is given is answered, without
// upsert and without the right to update; anything else is refused as different.
func TestDeclaringTwiceIsOne(t *testing.T) {
	t.Parallel()
	s, _ := rig(t, &counted{}, nil,
		declared("t", "repo-creds", "url", "https://git.example/team", "password", "p"),
		declared("a", "repository", "url", "https://git.example/team/a"), // type git goes without saying
	)
	for name, c := range map[string]struct {
		declare func(*asked) error
		f       family
		code    fault.Code
	}{
		"template": {func(a *asked) error {
			_, err := s.createCreds(t.Context(), a, &CreateCredsRequest{Creds: Given{URL: "https://git.example/team", Password: "p"}})
			return err
		}, readingCreds, 0},
		"other template": {func(a *asked) error {
			_, err := s.createCreds(t.Context(), a, &CreateCredsRequest{Creds: Given{URL: "https://git.example/team", Password: "q"}})
			return err
		}, readingCreds, fault.InvalidArgument},
		"upsert needs its right": {func(a *asked) error {
			_, err := s.createCreds(t.Context(), a, &CreateCredsRequest{Creds: Given{URL: "https://git.example/team", Password: "q"}, Upsert: true})
			return err
		}, readingCreds, fault.PermissionDenied},
		"repository": {func(a *asked) error {
			_, err := s.create(t.Context(), a, &CreateRequest{Repo: Given{Repo: "https://git.example/team/a"}})
			return err
		}, reading, 0},
		"other repository": {func(a *asked) error {
			_, err := s.create(t.Context(), a, &CreateRequest{Repo: Given{Repo: "https://git.example/team/a", Username: "u"}})
			return err
		}, reading, fault.InvalidArgument},
	} {
		operation := "CreateRepository"
		if c.f == readingCreds {
			operation = "CreateRepositoryCredentials"
		}
		err := c.declare(s.asked(t, operation, c.f))
		if code, _ := fault.Of(err); code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStatesAreKept: a repository is tried again after an hour, or the time that
// is set, or when that is asked for.
func TestStatesAreKept(t *testing.T) {
	t.Parallel()
	for value, age := range map[string]time.Duration{"": time.Hour, "5m": 5 * time.Minute, "soon": time.Hour} {
		remotes := &counted{}
		s, clock := rig(t, remotes, map[string]string{stateAgeKey: value}, declared("a", "repository", "url", "https://git.example/team/a"))
		ask := func(force bool, tried int) {
			t.Helper()
			r, err := s.get(t.Context(), s.asked(t, "Get", reading), &Query{Repo: "https://git.example/team/a", ForceRefresh: force})
			if err != nil || r.ConnectionState.Status != "Successful" || remotes.n != tried {
				t.Errorf("%q: %+v, %v, tried %d times", value, r, err, remotes.n)
			}
		}
		ask(false, 1)
		clock.SetTime(clock.Now().Add(age - time.Second))
		ask(false, 1)
		clock.SetTime(clock.Now().Add(time.Second))
		ask(false, 2)
		ask(true, 3)
	}
}
