package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/cli"
)

// TestMain is also the command line and the engine, by the name of the file.
func TestMain(m *testing.M) {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch filepath.Base(self) {
	case "sluice":
		main()
	case cli.Engine:
		if err := json.NewEncoder(os.Stdout).Encode(append([]string{"engine"}, os.Args...)); err != nil {
			os.Exit(1)
		}
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// install puts this program into a folder under some names; argocd is a link.
func install(t *testing.T, names ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"argocd", "argocd-cmp-server", "argocd-k8s-auth", "argocd-repo-server", "argocd-dex"} {
		if err := os.Symlink("sluice", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, args[0]), args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Env = []string{"HOME=" + dir, "ARGOCD_SERVER="}
	raw, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

func TestEngineGoesOn(t *testing.T) {
	t.Parallel()
	dir := install(t, "sluice", cli.Engine)
	for _, args := range []string{
		"argocd-repo-server --port 1", "argocd-dex gendexcfg", "sluice server --port 1", "sluice argocd-server --help", "sluice all --no-such-flag", "sluice help repo-server", "sluice lua-worker",
		"sluice __complete server --po", "argocd-cmp-server --loglevel debug", "argocd-k8s-auth aws --cluster-name x", "sluice controller", "argocd app list --core", "sluice --core app create -f -",
		"argocd app get x --port-forward", "sluice proj list --port-forward-namespace argocd", "argocd admin dashboard --port 1", "sluice version --core",
	} {
		words := strings.Fields(args)
		out, code := run(t, dir, words...)
		var got []string
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 7 || !slices.Equal(got, append([]string{"engine"}, words...)) {
			t.Errorf("%s: exit code %d, %s", args, code, out)
		}
	}
}

func TestCommandLineStaysItself(t *testing.T) {
	t.Parallel()
	dir := install(t, "sluice", cli.Engine)
	for args, want := range map[string]string{
		"argocd version --client": "argocd: dev", "sluice version --client --core": "sluice: dev", "sluice --help": "applicationset-controller",
		"sluice app list": "server address unspecified", "sluice completion bash": "bash completion", "sluice __complete ap": "appset",
		"sluice app list --server localhost:1 --port-forward --plaintext --http-retry-max 0": "connection refused",
	} {
		if out, code := run(t, dir, strings.Fields(args)...); !strings.Contains(out, want) || code == 7 {
			t.Errorf("%s: exit code %d, %s", args, code, out)
		}
	}
}

func TestBinaryName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, binary, name, program string }{
		{"/bin/sluice app list", "", "sluice", ""},
		{"/bin/argocd app list", "", "argocd", ""},
		{"/bin/other app list", "", "sluice", ""},
		{"/bin/argocd-server --port 1", "", "sluice", "server"},
		{"/bin/sluice app list", "argocd", "argocd", ""},
		{"/bin/sluice --port 1", "argocd-application-controller", "sluice", "application-controller"},
		{"/bin/argocd-server --port 1", "argocd-repo-server", "sluice", "repo-server"},
		{"/bin/argocd app list", "unknown", "argocd", ""},
		{"/bin/sluice-engine lua-worker", "argocd-repo-server", "sluice", ""},
		{"/bin/sluice k8s-auth aws", "argocd-k8s-auth", "sluice", ""},
		{"/bin/sluice", "argocd-k8s-auth", "sluice", "k8s-auth"},
	} {
		if name, program := cli.Called(strings.Fields(c.args), c.binary); name != c.name || program != c.program {
			t.Errorf("%s as %q: %s, %q", c.args, c.binary, name, program)
		}
	}
}

func TestWithoutEngine(t *testing.T) {
	t.Parallel()
	dir := install(t, "sluice")
	for _, args := range [][]string{{"sluice", "server"}, {"sluice", "app", "list", "--core"}} {
		out, code := run(t, dir, args...)
		if code == 0 || !strings.Contains(out, filepath.Join(dir, cli.Engine)) || !strings.Contains(out, "of the same release beside this program") {
			t.Errorf("%v: exit code %d, %s", args, code, out)
		}
	}
}
