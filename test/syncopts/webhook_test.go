package syncopts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// hookServer is a mutating webhook at the wire: what it answers is a JSON
// patch that answer chooses.
type hookServer struct {
	*httptest.Server
	ca     []byte
	dryRun atomic.Int32
}

// certificate is a self-signed one for the loopback address.
func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func serveHook(t *testing.T, answer func(*admissionv1.AdmissionRequest) []map[string]any) *hookServer {
	t.Helper()
	h := &hookServer{}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		if review.Request.DryRun != nil && *review.Request.DryRun {
			h.dryRun.Add(1)
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if patch := answer(review.Request); len(patch) > 0 {
			raw, err := json.Marshal(patch)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			kind := admissionv1.PatchTypeJSONPatch
			review.Response.Patch, review.Response.PatchType = raw, &kind
		}
		_ = json.NewEncoder(w).Encode(review)
	}))
	pair, ca := certificate(t)
	h.ca = ca
	h.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

// configuration registers the webhook for a resource of a namespace.
func (h *hookServer) configuration(kind, namespace, group, resource string, timeout int) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": namespace},
		"webhooks": []any{map[string]any{
			"name": namespace + ".example.com", "sideEffects": "None", "admissionReviewVersions": []any{"v1"}, "timeoutSeconds": int64(timeout),
			"failurePolicy": "Fail", "clientConfig": map[string]any{"url": h.URL, "caBundle": pemBase64(h.ca)},
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": namespace}},
			"rules":             []any{map[string]any{"apiGroups": []any{group}, "apiVersions": []any{"*"}, "operations": []any{"CREATE", "UPDATE"}, "resources": []any{resource}}},
		}},
	}}
}

func pemBase64(raw []byte) string {
	text, err := json.Marshal(raw)
	if err != nil {
		return ""
	}
	return strings.Trim(string(text), `"`)
}

// sidecar adds what service meshes and registries add: a container, a pull
// policy, an annotation, and another address of the image.
func sidecar(r *admissionv1.AdmissionRequest) []map[string]any {
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(r.Object.Raw); err != nil {
		return nil
	}
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	var patch []map[string]any
	meshed := false
	for i, c := range containers {
		m, _ := c.(map[string]any)
		meshed = meshed || m["name"] == "mesh"
		if image, _ := m["image"].(string); image != "" && !strings.HasPrefix(image, "mirror.example.com/") {
			patch = append(patch, map[string]any{"op": "replace", "path": fmt.Sprintf("/spec/template/spec/containers/%d/image", i), "value": "mirror.example.com/" + image})
		}
		patch = append(patch, map[string]any{"op": "add", "path": fmt.Sprintf("/spec/template/spec/containers/%d/imagePullPolicy", i), "value": "Always"})
	}
	if !meshed {
		patch = append(patch, map[string]any{"op": "add", "path": "/spec/template/spec/containers/-", "value": map[string]any{"name": "mesh", "image": "mirror.example.com/mesh:v1"}})
	}
	if u.GetLabels()["meshed"] == "" && u.GetLabels() != nil {
		patch = append(patch, map[string]any{"op": "add", "path": "/metadata/labels/meshed", "value": "yes"})
	}
	return patch
}

// mutated: a webhook changes what was applied; that is no drift, and a change
// by hand of a field that Git has still is.
func (r *run) mutated() {
	h := serveHook(r.T, sidecar)
	must(r.T, r.target.Create(r.Context(), h.configuration("MutatingWebhookConfiguration", r.name, "apps", "deployments", 5)))
	web := strings.Replace(deployment("x:v1"), "{name: web}", "{name: web, labels: {app: web}}", 1)
	r.commit(web)
	r.create("CreateNamespace=true")
	r.succeeds("")
	live := r.live("apps/v1", "Deployment", "web")
	if got := text(live, "spec", "template", "spec", "containers"); !strings.Contains(got, "mirror.example.com/x:v1") || !strings.Contains(got, `"mesh"`) {
		r.Fatalf("the webhook was not asked: %s", got)
	}
	r.status(v1alpha1.SyncStatusSynced)
	r.wrote(r.succeeds(""))
	if h.dryRun.Load() == 0 {
		r.Error("no dry run reached the webhook: the answer was not the server's")
	}
	r.edit("apps/v1", "Deployment", "web", `{"spec":{"minReadySeconds":3}}`)
	r.status(v1alpha1.SyncStatusSynced) // Git does not speak of it
	r.edit("apps/v1", "Deployment", "web", `{"spec":{"replicas":2}}`)
	r.status(v1alpha1.SyncStatusOutOfSync)
	r.wrote(r.succeeds(""), "patch deployments/web")
	r.status(v1alpha1.SyncStatusSynced)
}

// scaled: an autoscaler owns the replicas; with the rule that is no drift, and
// without it only that field is.
func (r *run) scaled() {
	r.commit(strings.Replace(deployment("x:v1"), "replicas: 1", "replicas: 2", 1) + "---\n" + `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 2, maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`)
	r.create("CreateNamespace=true")
	r.succeeds("")
	live := r.live("apps/v1", "Deployment", "web")
	must(r.T, r.target.SubResource("scale").Patch(r.Context(), live, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":5}}`)), &client.SubResourcePatchOptions{
		PatchOptions: client.PatchOptions{FieldManager: "kube-controller-manager"}}))
	if got := outOfSync(r.status(v1alpha1.SyncStatusOutOfSync)); len(got) != 1 || got[0] != "Deployment/web" {
		r.Errorf("out of sync are %v", got)
	}
	for _, rule := range []string{"jsonPointers: [/spec/replicas]", "jqPathExpressions: [.spec.replicas]", "managedFieldsManagers: [kube-controller-manager]"} {
		r.patch("spec: {ignoreDifferences: [{group: apps, kind: Deployment, " + rule + "}]}")
		r.status(v1alpha1.SyncStatusSynced)
		r.patch("spec: {ignoreDifferences: null}")
		r.status(v1alpha1.SyncStatusOutOfSync)
	}
}
