// Package crd proves on a real API server that the custom resource
// definitions accept the manifests people have.
package crd

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/config"
	"github.com/sluice-cd/sluice/test/fleet"
)

// maxSize is what kubectl apply can keep in its annotation.
const maxSize = 256 << 10

var resources = map[string]string{"Application": "applications", "ApplicationSet": "applicationsets", "AppProject": "appprojects"}

func TestSizeAllowsPlainApply(t *testing.T) {
	t.Parallel()
	crds, err := config.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crds {
		raw, err := json.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) >= maxSize {
			t.Errorf("%s has %d bytes, at most %d fit", crd.GetName(), len(raw), maxSize)
		}
	}
}

func TestManifestsAreAccepted(t *testing.T) {
	bin := os.Getenv("SLUICE_BIN")
	if bin == "" {
		t.Fatal("SLUICE_BIN is not set: run these tests with make test, which builds the binaries first")
	}
	f, err := fleet.Up(t.Context(), fleet.Options{Bin: filepath.Join(bin, "fleet"), Dir: filepath.Join(t.TempDir(), "f"), Clusters: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	hub := f.Clusters()[0]
	if out, err := exec.Command(filepath.Join(bin, "sluice"), "install", "--kubeconfig", hub.Kubeconfig).CombinedOutput(); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	cfg, err := hub.Config()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(own) == 0 {
		t.Fatalf("testdata: %v, %d files", err, len(own))
	}
	articles, err := filepath.Glob("../../../shared/seeds/manifests/*.yaml") // beside the repository, when it is there
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(own, articles...) {
		accept(t, client, file)
	}
}

// accept creates the objects of our kinds in a file, with unknown fields
// refused, without storing them.
func accept(t *testing.T, client dynamic.Interface, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			continue // a fragment, not an object
		}
		resource, ours := resources[u.GetKind()]
		if !ours || u.GetAPIVersion() != v1alpha1.GroupVersion.String() || strings.Contains(file, "patch") {
			continue
		}
		u.SetNamespace("argocd")
		_, err := client.Resource(v1alpha1.GroupVersion.WithResource(resource)).Namespace("argocd").
			Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			t.Errorf("%s: %s %s: %v", filepath.Base(file), u.GetKind(), u.GetName(), err)
		}
	}
}
