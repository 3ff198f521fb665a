package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-cd/sluice/test/rig"
)

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}

// TestSeedCommands runs the commands of the seeds as printed there, by the name
// argocd, against a fleet with a server.
func TestSeedCommands(t *testing.T) {
	r := start(t, "staging-cluster,production-cluster")
	merged := api.NewConfig()
	for _, c := range r.Fleet.Clusters() {
		one, err := clientcmd.LoadFromFile(c.Kubeconfig)
		must(t, err)
		current := one.Contexts[one.CurrentContext]
		merged.Clusters[c.Name], merged.AuthInfos[c.Name] = one.Clusters[current.Cluster], one.AuthInfos[current.AuthInfo]
		merged.Contexts[c.Name] = &api.Context{Cluster: c.Name, AuthInfo: c.Name}
		if c.Name != "hub" { // the script registers them
			must(t, r.Hub.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: c.Name}}))
		}
	}
	merged.CurrentContext = "hub"
	dir := t.TempDir()
	must(t, clientcmd.WriteToFile(*merged, filepath.Join(dir, "kubeconfig")))
	bin := filepath.Join(dir, "bin")
	must(t, os.Mkdir(bin, 0o700))
	must(t, os.Symlink(filepath.Join(binaries(t), "sluice"), filepath.Join(bin, "argocd")))
	tools := map[string]string{
		"kubectl": fmt.Sprintf("#!/bin/sh\nname=hub\nif [ \"$1\" = --context ]; then name=$2; shift 2; fi\nexec %s --dir %s kubectl $name -- \"$@\"\n",
			filepath.Join(binaries(t), "fleet"), filepath.Join(filepath.Dir(r.Log()), "fleet")),
		"commit": fmt.Sprintf("#!/bin/sh\nset -e\ncd %s\nmkdir -p my-app\nsed \"s/TAG/$1/\" %s >my-app/all.yaml\ngit add . >&2\ngit commit -qm \"my-app $1\" >&2\ngit push -q origin HEAD:main >&2\ngit rev-parse HEAD\n",
			filepath.Join(dir, "work"), filepath.Join(dir, "workload.yaml")),
	}
	for name, text := range tools {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(dir, "workload.yaml"), []byte(rig.Workload("my-app", "TAG")), 0o600))
	port := freePort(t)
	must(t, r.Launch("--server", "--address", "127.0.0.1", "--port", port, "--insecure"))
	address := "127.0.0.1:" + port
	must(t, rig.Until(t.Context(), 90*time.Second, "the server answers", func(ctx context.Context) (bool, error) {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
		if err != nil {
			return false, err
		}
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		return res.StatusCode == 200, nil
	}))
	script, err := filepath.Abs("testdata/seed-commands.sh")
	must(t, err)
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "KUBECONFIG="+filepath.Join(dir, "kubeconfig"),
		"SERVER="+address, "REPO="+r.Git.URL("gitops-fleet"), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
	_, err = r.CommitPayment("v1") // the branch must exist before it is cloned
	must(t, err)
	clone := exec.Command("git", "clone", "-q", filepath.Join(filepath.Dir(r.Log()), "git", "gitops-fleet.git"), filepath.Join(dir, "work"))
	clone.Env = env
	if out, err := clone.CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "bash", script)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "ran as printed") {
		t.Fatalf("the script: %v", err)
	}
}
