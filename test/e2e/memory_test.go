//go:build soak

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// heavyChart needs about 200 MB to render something small.
var heavyChart = gitserver.Files{
	"apps/heavy/Chart.yaml":       "{apiVersion: v2, name: heavy, version: 1.0.0}",
	"apps/heavy/templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: heavy}\ndata: {length: {{ repeat 200000000 \"x\" | len | quote }}}\n",
	"apps/light/Chart.yaml":       "{apiVersion: v2, name: light, version: 1.0.0}",
	"apps/light/templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: light}\ndata: {version: {{ .Values.version | quote }}}\n",
	"apps/light/values.yaml":      "version: 1",
}

// repoServer is a renderer in a process of its own, with bounded memory.
type repoServer struct {
	*exec.Cmd
	gone chan struct{}
}

func startRepoServer(t *testing.T, r *rig.Rig, address string, limit uint64, args ...string) *repoServer {
	t.Helper()
	log, err := os.OpenFile(r.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer log.Close()
	base := []string{"repo-server", "--kubeconfig", r.HubPart.Kubeconfig, "--address", address, "--data-dir", t.TempDir(),
		"--metrics-addr", "0", "--probe-addr", "0", "--repository-poll-interval", "1s", "--logformat", "text"}
	s := &repoServer{exec.Command(binaries(t)+"/sluice", append(base, args...)...), make(chan struct{})}
	s.Stdout, s.Stderr = log, log
	must(t, s.Start())
	must(t, unix.Prlimit(s.Process.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}, nil))
	go func() { _ = s.Wait(); close(s.gone) }()
	t.Cleanup(s.kill)
	return s
}

func (s *repoServer) kill() {
	_ = s.Process.Signal(syscall.SIGKILL)
	<-s.gone
}

// TestRendererOutOfMemory plays the second failure case of the second article
// with the repo-server under a memory limit: a chart that needs more than there
// is fails alone and says so, the process stays, and with a larger limit and a
// restart it is deployed. A repo-server that is killed is waited for.
func TestRendererOutOfMemory(t *testing.T) {
	r := start(t, "one:env=test")
	_, err := r.Repo.Apply(gitserver.Change{Message: "charts", Write: heavyChart})
	must(t, err)
	address := "127.0.0.1:" + freePort(t)
	must(t, r.Launch("--repo-server", address))
	server := startRepoServer(t, r, address, 1<<30, "--render-memory", "128Mi")
	for _, name := range []string{"heavy", "light"} {
		must(t, r.Apply(t.Context(), fmt.Sprintf(plainApp, name, "default", r.Git.URL("gitops-fleet"), "apps/"+name, "name: one"), &v1alpha1.Application{}))
	}
	s := &stack{T: t, rig: r}
	head := func() string {
		id, err := r.Repo.Git("rev-parse", "HEAD")
		must(t, err)
		return strings.TrimSpace(id)
	}
	starved := func() {
		t.Helper()
		s.until("heavy", "Unknown for want of memory", func(app *v1alpha1.Application) bool {
			return app.Status.Sync.Status == v1alpha1.SyncStatusUnknown && app.Status.Health.Status == v1alpha1.HealthUnknown &&
				strings.Contains(fmt.Sprint(app.Status.Conditions), "rendering needed more than 128 MiB of memory")
		})
	}
	starved()
	good(t, r, "light", head())
	_, err = r.Repo.Apply(gitserver.Change{Message: "next", Write: gitserver.Files{"apps/light/values.yaml": "version: 2"}})
	must(t, err)
	good(t, r, "light", head())
	prints(t, r, "one", "2", "get", "configmap", "light", "-n", "side", "-o", "jsonpath={.data.version}")
	starved()
	select {
	case <-server.gone:
		t.Fatal("the repo-server died of a chart")
	default:
	}

	server.kill() // as the kernel does when the whole process is too large
	s.patch("light", `{"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}}`)
	s.until("light", "Unknown while there is no renderer", func(app *v1alpha1.Application) bool {
		return app.Status.Sync.Status == v1alpha1.SyncStatusUnknown && strings.Contains(fmt.Sprint(app.Status.Conditions), "Failed to load target state")
	})
	startRepoServer(t, r, address, 4<<30, "--render-memory", "1Gi")
	for _, name := range []string{"light", "heavy"} {
		good(t, r, name, head())
	}
	must(t, rig.Until(t.Context(), 20*time.Second, "the chart is deployed", func(context.Context) (bool, error) {
		out, err := kubectl(t, r, "one", "get", "configmap", "heavy", "-n", "side", "-o", "jsonpath={.data.length}")
		return out == "200000000", err
	}))
}
