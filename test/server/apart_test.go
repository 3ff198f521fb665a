package server

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes"
	sigs "sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/relay"
	"github.com/sluice-cd/sluice/test/rig"
)

// TestMainVerbsApart plays the same against a server whose controllers and
// renderer are other processes, one of which dies in between.
func TestMainVerbsApart(t *testing.T) {
	var controller *rig.Process
	var again func()
	p := launched(t, func(r *rig.Rig, port string) {
		renders := "127.0.0.1:" + freePort(t)
		part := func(name string, args ...string) *rig.Process {
			process, err := r.LaunchComponent(name, args...)
			must(t, err)
			return process
		}
		part("repo-server", "--address", renders)
		again = func() {
			controller = part("application-controller", "--repo-server", renders, "--internal-address", "127.0.0.1:0")
		}
		again()
		part("applicationset-controller", "--repo-server", renders, "--internal-address", "127.0.0.1:0")
		_, err := r.LaunchServer("--repo-server", renders, "--address", "127.0.0.1", "--port", port)
		must(t, err)
	})
	p.announced(t)
	p.midway = func(t *testing.T) { p.controllerDies(t, func() { controller.End(syscall.SIGKILL) }, again) }
	p.mainVerbs(t)
	controller.End(syscall.SIGTERM)
	must(t, rig.Until(t.Context(), 10*time.Second, "the controller withdrew its address", func(ctx context.Context) (bool, error) {
		lease, err := p.lease(ctx, t, "application-controller")
		return err == nil && lease.Annotations[relay.AnnotationAddress] == "", err
	}))
}

func (p *process) lease(ctx context.Context, t *testing.T, role string) (*coordinationv1.Lease, error) {
	cfg, err := p.HubPart.Config()
	must(t, err)
	hub, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	return hub.CoordinationV1().Leases(namespace).Get(ctx, relay.LeaseName(role), metav1.GetOptions{})
}

// announced waits until both controllers are found.
func (p *process) announced(t *testing.T) {
	for _, role := range []string{"application-controller", "applicationset-controller"} {
		must(t, rig.Until(t.Context(), time.Minute, role+" is announced", func(ctx context.Context) (bool, error) {
			lease, err := p.lease(ctx, t, role)
			return err == nil && lease.Annotations[relay.AnnotationAddress] != "" && *lease.Spec.HolderIdentity != "", sigs.IgnoreNotFound(err)
		}))
	}
}

// controllerDies: what needs it says that it is away and what to look at, an
// open stream ends with that, the rest goes on, and all is well when it is back.
func (p *process) controllerDies(t *testing.T, kill, again func()) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	web := &application.ResourcesQuery{Target: application.Target{Name: "web"}}
	away := func(what string, err error) {
		t.Helper()
		if !fault.Away(err) || !strings.Contains(err.Error(), "Lease sluice-application-controller") {
			t.Errorf("%s without a controller: %v", what, err)
		}
	}
	seen := false
	for _, err := range p.ApplicationWatchResourceTree(ctx, web) {
		if err != nil {
			away("an open tree", err)
			break
		}
		if !seen {
			seen = true
			kill()
		}
	}
	if !seen || ctx.Err() != nil {
		t.Fatalf("the tree was seen: %t; %v", seen, ctx.Err())
	}
	_, err := p.ApplicationResourceTree(ctx, web)
	away("the tree", err)
	_, err = p.ApplicationManagedResources(ctx, web)
	away("managed resources", err)
	_, err = p.ApplicationGetManifests(ctx, &application.ManifestQuery{Target: web.Target})
	away("manifests", err)
	app, err := p.ApplicationGet(ctx, &application.GetQuery{Name: "web"})
	if err != nil || app.Name != "web" {
		t.Errorf("the Application itself: %v", err)
	}
	sets, err := p.ApplicationSetList(ctx, &applicationset.ListQuery{})
	if err != nil || len(sets.Items) != 0 {
		t.Errorf("ApplicationSets: %v", err)
	}
	again()
	must(t, rig.Until(ctx, 40*time.Second, "the tree is back", func(ctx context.Context) (bool, error) {
		tree, err := p.ApplicationResourceTree(ctx, web)
		if err != nil && !fault.Away(err) {
			return false, nil // the cluster is being listed
		}
		return err == nil && len(tree.Nodes) >= 3, nil
	}))
	must(t, rig.Until(ctx, 20*time.Second, "the cluster is known again", func(ctx context.Context) (bool, error) {
		clusters, err := p.ClusterList(ctx, &cluster.Query{Name: "eu-1"})
		return err == nil && len(clusters.Items) == 1 && clusters.Items[0].ConnectionState.Status == "Successful", err
	}))
}
