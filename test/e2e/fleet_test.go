package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

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
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door}
spec: {defaultBackend: {service: {name: lb, port: {number: 80}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scale}
spec: {minReplicas: 2, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: good}}
---
apiVersion: v1
kind: Pod
metadata: {name: slow, annotations: {fleet.sluice.dev/behavior: slow, fleet.sluice.dev/delay: 1s}}
spec: {containers: [{name: c, image: "x:v1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unready}
spec: {containers: [{name: c, image: "x:never-ready"}]}
`

// TestFleet proves that the local clusters behave like clusters, and that they
// leave nothing behind.
func TestFleet(t *testing.T) {
	binary, dir := filepath.Join(binaries(t), "fleet"), filepath.Join(t.TempDir(), "fleet")
	f, err := fleet.Up(t.Context(), fleet.Options{Bin: binary, Dir: dir, Clusters: "one", Args: []string{"--inflight", "one=7"}})
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
		"192.0.2.10 ":      {"get", "ingress", "door", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"},
		"Bound":            {"get", "pvc", "disk", "-o", "jsonpath={.status.phase}"},
		"2 ":               {"get", "hpa", "scale", "-o", "jsonpath={.status.currentReplicas}"},
		"true":             {"get", "pod", "slow", "-o", "jsonpath={.status.containerStatuses[0].ready}"},
		"Running false":    {"get", "pod", "unready", "-o", "jsonpath={.status.phase} {.status.containerStatuses[0].ready}"},
	} {
		must(t, rig.Until(t.Context(), 20*time.Second, strings.Join(query, " ")+" = "+what, func(context.Context) (bool, error) {
			out, err := kubectl(query...)
			return out == strings.TrimSpace(what), err
		}))
	}
	t.Run("faults", func(t *testing.T) { faults(t, f) })
	t.Run("a credential that ends", func(t *testing.T) { shortLived(t, binary, dir) })
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

// answer asks for the server's version through the fault proxy.
func answer(ctx context.Context, c fleet.Cluster, limit time.Duration) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.ProxyKubeconfig)
	if err != nil {
		return err
	}
	cfg.Timeout = limit
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	return client.RESTClient().Get().AbsPath("/version").Do(ctx).Error()
}

func faults(t *testing.T, f *fleet.Fleet) {
	one := f.Clusters()[0]
	must(t, answer(t.Context(), one, 5*time.Second))
	for _, fault := range []string{"reset", "blackhole", "truncate=100"} {
		must(t, f.Run(t.Context(), "fault", "one", fault))
		if err := answer(t.Context(), one, 500*time.Millisecond); err == nil {
			t.Errorf("fault %s: the API server answers all the same", fault)
		}
	}
	must(t, f.Run(t.Context(), "fault", "one", "latency=200ms"))
	begin := time.Now()
	must(t, answer(t.Context(), one, 5*time.Second))
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("with a latency of 200 ms an answer took %s", took)
	}
	must(t, f.Run(t.Context(), "fault", "one", "clear"))
	must(t, answer(t.Context(), one, 5*time.Second))
	must(t, f.Run(t.Context(), "pause", "one"))
	if err := answer(t.Context(), one, 500*time.Millisecond); err == nil {
		t.Error("a frozen cluster answers")
	}
	must(t, f.Run(t.Context(), "resume", "one"))
	must(t, answer(t.Context(), one, 10*time.Second))
}

// shortLived proves that a credential asked for with a life of two seconds
// works at first and is refused later.
func shortLived(t *testing.T, binary, dir string) {
	content, err := exec.Command(binary, "--dir", dir, "kubeconfig", "one", "--ttl", "2s").Output()
	must(t, err)
	cfg, err := clientcmd.RESTConfigFromKubeConfig(content)
	must(t, err)
	client, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	must(t, client.RESTClient().Get().AbsPath("/version").Do(t.Context()).Error())
	must(t, rig.Until(t.Context(), 10*time.Second, "the credential is refused", func(ctx context.Context) (bool, error) {
		fresh, err := kubernetes.NewForConfig(rest.CopyConfig(cfg))
		if err != nil {
			return false, err
		}
		return fresh.RESTClient().Get().AbsPath("/api/v1/namespaces").Do(ctx).Error() != nil, nil
	}))
}

// TestInterruptedFleet proves that Ctrl-C, and even the death of the
// supervisor, leave no process behind.
func TestInterruptedFleet(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		dir := filepath.Join(t.TempDir(), "fleet")
		up := exec.Command(filepath.Join(binaries(t), "fleet"), "--dir", dir, "up", "--clusters", "one")
		must(t, up.Start())
		must(t, rig.Until(t.Context(), time.Minute, "a ready fleet", func(context.Context) (bool, error) {
			raw, err := os.ReadFile(filepath.Join(dir, "state.json"))
			return strings.Contains(string(raw), `"ready": true`), err
		}))
		must(t, up.Process.Signal(sig))
		_ = up.Wait()
		must(t, rig.Until(t.Context(), 10*time.Second, "no process left after "+sig.String(), func(context.Context) (bool, error) {
			out, err := exec.Command("pgrep", "-f", dir).Output()
			return err != nil && len(out) == 0, nil
		}))
		if _, err := os.Stat(dir); sig == syscall.SIGINT && !os.IsNotExist(err) {
			t.Errorf("folder %s is left behind after Ctrl-C: %v", dir, err)
		}
	}
}
