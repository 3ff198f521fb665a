package admin

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd/api"
)

func TestNamespaceOfContext(t *testing.T) {
	t.Parallel()
	raw := &api.Config{CurrentContext: "a", Contexts: map[string]*api.Context{"a": {Namespace: "cd"}, "b": {}}}
	for name, want := range map[string]string{"": "cd", "a": "cd", "b": "argocd", "c": "argocd"} {
		if got := contextNamespace(raw, name); got != want {
			t.Errorf("context %q: %s, want %s", name, got, want)
		}
	}
}

// TestBackupReplacesAFileWhole also says that nobody else may read it.
func TestBackupReplacesAFileWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "backup.yaml")
	if err := os.WriteFile(name, []byte("the one of yesterday"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := []unstructured.Unstructured{{Object: map[string]any{"spec": math.NaN()}}}
	if err := writeFile(name, broken, "argocd"); err == nil {
		t.Error("an object that cannot be written is no error")
	}
	if raw, err := os.ReadFile(name); err != nil || string(raw) != "the one of yesterday" {
		t.Errorf("after a failure the file holds %q (%v)", raw, err)
	}
	good := []unstructured.Unstructured{{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "argocd-cm"}}}}
	if err := writeFile(name, good, "argocd"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(raw), "argocd-cm") {
		t.Errorf("the file holds %q (%v)", raw, err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode().Perm(), err)
	}
}
