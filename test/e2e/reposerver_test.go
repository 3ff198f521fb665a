package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// TestRepoServer runs rendering in a process of its own: plain YAML, a chart
// and an overlay reach the cluster, and so does the next commit.
func TestRepoServer(t *testing.T) {
	r := start(t, "one:env=test")
	files := gitserver.Files{
		"apps/plain/cm.yaml":              fmt.Sprintf(configMap, "1"),
		"apps/chart/Chart.yaml":           "{apiVersion: v2, name: c, version: 1.0.0}",
		"apps/chart/templates/c.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-chart}\n",
		"apps/overlay/kustomization.yaml": "resources: [../plain]\nnamePrefix: over-\n",
		"apps/plain/kustomization.yaml":   "resources: [cm.yaml]\n",
	}
	_, err := r.Repo.Apply(gitserver.Change{Message: "files", Write: files})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	log, err := os.OpenFile(r.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer log.Close()
	must(t, r.Launch("--repo-server", address, "--install-crds"))
	server := exec.Command(filepath.Join(os.Getenv("SLUICE_BIN"), "sluice"), "repo-server", "--kubeconfig", r.HubPart.Kubeconfig, "--address", address,
		"--data-dir", t.TempDir(), "--metrics-addr", "0", "--probe-addr", "0", "--repository-poll-interval", "1s", "--logformat", "text")
	server.Stdout, server.Stderr = log, log
	must(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for _, name := range []string{"plain", "chart", "overlay"} {
		must(t, r.Apply(t.Context(), fmt.Sprintf(plainApp, name, "default", r.Git.URL("gitops-fleet"), "apps/"+name, "name: one"), &v1alpha1.Application{}))
	}
	synced := func(revision string) {
		t.Helper()
		for name, kind := range map[string]string{"plain": "Kustomize", "chart": "Helm", "overlay": "Kustomize"} {
			must(t, rig.Until(t.Context(), 90*time.Second, name+" at "+revision, func(ctx context.Context) (bool, error) {
				app, err := get(ctx, r, name)
				if err != nil {
					return false, err
				}
				s := app.Status
				if s.Sync.Status == "Synced" && s.Health.Status == "Healthy" && s.Sync.Revision == revision && s.SourceType == kind {
					return true, nil
				}
				return false, fmt.Errorf("%s %s at %s, type %s, conditions %v", s.Sync.Status, s.Health.Status, s.Sync.Revision, s.SourceType, s.Conditions)
			}))
		}
	}
	head := func() string {
		t.Helper()
		id, err := r.Repo.Git("rev-parse", "HEAD")
		must(t, err)
		return id[:40]
	}
	synced(head())
	_, err = r.Repo.Apply(gitserver.Change{Message: "next", Write: gitserver.Files{"apps/plain/cm.yaml": fmt.Sprintf(configMap, "2")}})
	must(t, err)
	synced(head())
}
