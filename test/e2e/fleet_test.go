package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/rig"
)

const workloads = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: good}
spec:
  replicas: 2
  selector: {matchLabels: {a: good}}
  template: {metadata: {labels: {a: good}}, spec: {containers: [{name: c, image: "x:v1"}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  selector: {matchLabels: {a: bad}}
  template: {metadata: {labels: {a: bad}}, spec: {containers: [{name: c, image: "x:crash-v1"}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: done}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:v1"}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: failed}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "x:fail"}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: lb}
spec: {type: LoadBalancer, selector: {a: good}, ports: [{port: 80}]}
`

// TestFleet proves that the local clusters behave like clusters, and that they
// leave nothing behind.
func TestFleet(t *testing.T) {
	bin := os.Getenv("SLUICE_BIN")
	if bin == "" {
		t.Fatal("SLUICE_BIN is not set: run these tests with make test, which builds the binaries first")
	}
	binary, dir := filepath.Join(bin, "fleet"), filepath.Join(t.TempDir(), "fleet")
	f, err := fleet.Up(t.Context(), fleet.Options{Bin: binary, Dir: dir, Clusters: "one"})
	must(t, err)
	down := false
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if !down {
			must(t, f.Down(ctx))
		}
	})
	if out, err := exec.Command(binary, "up", "--dir", dir, "--clusters", "two").CombinedOutput(); err == nil || !strings.Contains(string(out), "in use by another fleet") {
		t.Errorf("a taken folder: %v: %s", err, out)
	}
	file := filepath.Join(t.TempDir(), "w.yaml")
	must(t, os.WriteFile(file, []byte(workloads), 0o600))
	kubectl := func(args ...string) (string, error) {
		out, err := exec.Command(binary, append([]string{"--dir", dir, "kubectl", "one", "--"}, args...)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := kubectl("apply", "-f", file); err != nil {
		t.Fatalf("apply: %v: %s", err, out)
	}
	for what, query := range map[string][]string{
		"2":                {"get", "deploy", "good", "-o", "jsonpath={.status.availableReplicas}"},
		"CrashLoopBackOff": {"get", "pods", "-l", "a=bad", "-o", "jsonpath={.items[0].status.containerStatuses[0].state.waiting.reason}"},
		"1":                {"get", "job", "done", "-o", "jsonpath={.status.succeeded}"},
		"True":             {"get", "job", "failed", "-o", `jsonpath={.status.conditions[?(@.type=="Failed")].status}`},
		"192.0.2.10":       {"get", "svc", "lb", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"},
	} {
		must(t, rig.Until(t.Context(), 20*time.Second, strings.Join(query, " ")+" = "+what, func(context.Context) (bool, error) {
			out, err := kubectl(query...)
			return out == what, err
		}))
	}
	must(t, f.Run(t.Context(), "stop", "one"))
	must(t, f.Run(t.Context(), "start", "one"))
	if out, err := kubectl("get", "deploy", "good"); err != nil {
		t.Errorf("after a restart of the API server: %v: %s", err, out)
	}
	must(t, f.Down(t.Context()))
	down = true
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("folder %s is left behind: %v", dir, err)
	}
	if out, err := exec.Command("pgrep", "-f", dir).Output(); err == nil {
		t.Errorf("processes are left behind: %s", out)
	}
}
