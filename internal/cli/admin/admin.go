// Package admin holds the commands that talk to Kubernetes directly, for those
// who run the hub (spec/cli.md §6): nobody is asked but the kubeconfig's rights.
//
//   - admin.go: connection; password.go: first passwords
//   - export.go, import.go, restore.go: everything as one stream of YAML, and back
//     (what belongs to it, and what is to be done, is decided in backup);
//     lease.go: whether a controller runs
//   - settings.go, overrides.go, rbac.go: what settings say, before they are used
//     (verify reads them)
//   - cluster.go, mode.go, spec.go: figures about clusters, and their registrations
//   - rehearsal.go: what a controller would say of every Application
//   - project.go: many projects
//   - notification.go, notify.go: what is declared about messages, and a try of it
package admin

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/cli/app"
	"github.com/sluice-cd/sluice/internal/cli/command"
	"github.com/sluice-cd/sluice/internal/cli/connect"
	"github.com/sluice-cd/sluice/internal/cli/fail"
	"github.com/sluice-cd/sluice/internal/cli/repo"
)

// Options are what the program gives the group besides the connection.
type Options struct {
	Dialer *connect.Dialer
	// Dashboard serves the API and the UI on an address until ctx ends, and says
	// when it is ready; nil where this program has no server.
	Dashboard func(ctx context.Context, address string, ready func(url string)) error
	// Rehearse compares Applications as a controller would, writes nothing, and
	// gives their statuses in order; nil where this program cannot.
	Rehearse func(ctx context.Context, apps []v1alpha1.Application) ([]v1alpha1.ApplicationStatus, error)
}

type verbs struct{ Options }

// Command is the group.
func Command(o Options) *cobra.Command {
	v := &verbs{o}
	c := command.Group("admin", "Commands for those who run the hub: they talk to Kubernetes directly",
		v.initialPassword(), v.redisPassword(), v.export(), v.restore(), v.dashboard(), v.projects(), v.notifications(),
		command.Group("app", "Declare Applications, and rehearse their reconciliation", app.GenerateSpec(v.Dialer), v.reconcileResults(), v.diffReconcileResults()),
		command.Group("repo", "Declare repositories", repo.GenerateSpec(v.Dialer)),
		v.clusters(),
		v.settings(),
	)
	v.Dialer.Kube.Register(c.PersistentFlags(), false)
	return c
}

// hub is the control plane.
type hub struct {
	client    client.Client
	namespace string
}

// config is the connection that flags and kubeconfig describe, and the namespace
// of the control plane.
func (v *verbs) config() (*rest.Config, string, error) {
	cfg, ns, err := v.Dialer.Kube.Config(v.Dialer.KubeContext)
	if err != nil {
		return nil, "", fail.New("give --kubeconfig, or set KUBECONFIG", "%w", err)
	}
	return cfg, ns, nil
}

func (v *verbs) connect() (*hub, error) {
	cfg, ns, err := v.config()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to Kubernetes: %w", err)
	}
	return &hub{client: c, namespace: ns}, nil
}

func (v *verbs) dashboard() *cobra.Command {
	var address string
	var port int
	c := &cobra.Command{Use: "dashboard", Short: "Serve API and UI on this machine, with the rights of the kubeconfig", Args: command.Args(0, 0)}
	c.Flags().StringVar(&address, "address", "localhost", "address to listen on")
	c.Flags().IntVar(&port, "port", 8080, "port to listen on")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if v.Dashboard == nil {
			return fail.Fatal("this program was built without a server")
		}
		return v.Dashboard(cmd.Context(), net.JoinHostPort(address, strconv.Itoa(port)), func(url string) {
			v.Dialer.Console.Printf("Argo CD UI is available at %s\n", url)
		})
	}
	return c
}
