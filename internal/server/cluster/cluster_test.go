package cluster

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// all lets everybody do everything.
type all struct{}

func (all) Allowed(access.Principal, access.Request) bool { return true }

func rig(t *testing.T) *Service {
	t.Helper()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{Data: map[string][]byte{"name": []byte("eu one"), "server": []byte("https://eu"), "config": []byte(`{"tlsClientConfig":{"insecure":true}}`)}}
	secret.Name, secret.Namespace, secret.ResourceVersion = "eu", "argocd", "1"
	secret.Labels = map[string]string{v1alpha1.LabelSecretType: "cluster"}
	hub.Client = fake.NewClientBuilder().WithObjects(secret.DeepCopy()).Build()
	hub.Secrets.Put(secret)
	return New(Options{
		Hub: hub, Log: slog.New(slog.DiscardHandler), Clock: testclock.NewFakePassiveClock(time.Unix(1_800_000_000, 0)),
		Probe:    func(context.Context, destination.Cluster) (string, error) { return "v1.36.0", nil },
		Settings: func() *settings.Snapshot { return settings.Parse([]*corev1.Secret{secret}, nil) },
	})
}

func (s *Service) call(t *testing.T, operation string) *route.Call {
	t.Helper()
	for _, line := range s.Routes() {
		if line.Operation() == operation {
			return route.NewCall(&line, access.Principal{Subject: "ann", Issuer: "argocd"}, all{})
		}
	}
	t.Fatalf("no operation %s", operation)
	return nil
}

// TestRegisteringTwiceIsOne: a cluster that is registered as it is given is
// answered; a different one needs upsert, and is told so as Applications are.
func TestRegisteringTwiceIsOne(t *testing.T) {
	t.Parallel()
	s := rig(t)
	given := Given{Server: "https://eu/", Name: "eu one", Config: Credentials{TLSClientConfig: TLSConfig{Insecure: true}}}
	if c, err := s.Create(t.Context(), s.call(t, "Create"), &CreateRequest{Cluster: given}); err != nil || c.Name != "eu one" {
		t.Errorf("%+v, %v", c, err)
	}
	given.Config.BearerToken = "canary"
	_, err := s.Create(t.Context(), s.call(t, "Create"), &CreateRequest{Cluster: given})
	if code, text := fault.Of(err); code != fault.InvalidArgument || text != "existing cluster spec is different, use upsert flag to force update" {
		t.Errorf("%v %s", code, text)
	}
	c, err := s.Create(t.Context(), s.call(t, "Create"), &CreateRequest{Cluster: given, Upsert: true})
	if secret, _ := s.Hub.Secret("eu"); err != nil || c == nil || !strings.Contains(string(secret.Data["config"]), "canary") {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestListByID: id.value and id.type name a cluster in lists too.
func TestListByID(t *testing.T) {
	t.Parallel()
	s := rig(t)
	for q, want := range map[Query]int{
		{}: 2, {ID: "https://eu"}: 1, {ID: "eu one", IDType: "name"}: 1, {ID: "eu%20one", IDType: "name_escaped"}: 1, {ID: "eu one"}: 0, {Name: "eu one"}: 1, {Server: "https://eu/"}: 1, {Name: "us"}: 0,
	} {
		if list, err := s.List(t.Context(), s.call(t, "List"), &q); err != nil || len(list.Items) != want {
			t.Errorf("%+v: %+v, %v", q, list, err)
		}
	}
}
