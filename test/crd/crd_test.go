// Package crd proves on a real API server that the custom resource
// definitions accept the manifests people have.
package crd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/sluice-cd/sluice/internal/domain/analysis"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/domain/window"
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

// TestEveryFieldIsCarriedOut: the strategy with every field that there is, which
// the API server takes, is one that a rollout can be carried out with.
func TestEveryFieldIsCarriedOut(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/rollout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set v1alpha1.ApplicationSet
	if err := yaml.UnmarshalStrict(raw, &set); err != nil {
		t.Fatal(err)
	}
	r := set.Spec.Strategy.RollingSync
	if _, err := window.ParseRollout(r.Windows, r.Steps); err != nil {
		t.Error(err)
	}
	if err := errors.Join(rollout.Validate(r), analysis.Check(r, analysis.Providers{Allowed: []string{"http://prometheus.monitoring.svc:9090"}})); err != nil {
		t.Error(err)
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
	kubectl := func(args ...string) {
		t.Helper()
		full := append([]string{"--dir", filepath.Dir(filepath.Dir(hub.Kubeconfig)), "kubectl", "hub", "--"}, args...)
		if out, err := exec.Command(filepath.Join(bin, "fleet"), full...).CombinedOutput(); err != nil {
			t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	kubectl("apply", "-f", "../../config/crd") // client-side, as people do
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
	kubectl("apply", "-f", foreign(t))
	kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
	for _, namespace := range []string{"payments", "production"} {
		kubectl("create", "namespace", namespace)
	}
	for _, file := range own {
		kubectl("apply", "-n", "argocd", "-f", file)
	}
	for _, file := range articles {
		if whole(t, file) {
			kubectl("apply", "-f", file)
		}
	}
}

// whole says that a file holds objects, not a fragment or a patch.
func whole(t *testing.T, file string) bool {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var head metav1.TypeMeta
	return yaml.Unmarshal(raw, &head) == nil && head.Kind != "" && !strings.Contains(file, "patch")
}

// foreign writes definitions of other people's kinds that accept anything.
func foreign(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, k := range []struct{ group, version, kind, plural, scope string }{
		{"argoproj.io", "v1alpha1", "Rollout", "rollouts", "Namespaced"},
		{"argoproj.io", "v1alpha1", "AnalysisTemplate", "analysistemplates", "Namespaced"},
		{"bitnami.com", "v1alpha1", "SealedSecret", "sealedsecrets", "Namespaced"},
		{"external-secrets.io", "v1beta1", "ExternalSecret", "externalsecrets", "Namespaced"},
		{"external-secrets.io", "v1beta1", "ClusterSecretStore", "clustersecretstores", "Cluster"},
		{"monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", "Namespaced"},
		{"monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules", "Namespaced"},
	} {
		fmt.Fprintf(&b, `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[4]s.%[1]s}
spec:
  group: %[1]s
  names: {kind: %[3]s, plural: %[4]s}
  scope: %[5]s
  versions:
  - {name: %[2]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, k.group, k.version, k.kind, k.plural, k.scope)
	}
	file := filepath.Join(t.TempDir(), "foreign.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
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
