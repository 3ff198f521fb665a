package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cd/sluice/test/fleet"
)

// providers plays the third-party controllers of a production stack: they turn
// external and sealed secrets into Secrets and write their statuses, and a
// kubelet that starts no container whose Secret is missing.
type providers struct {
	t       *testing.T
	dynamic dynamic.Interface
	core    kubernetes.Interface

	mu sync.Mutex
	// unreachable stores answer nobody.
	unreachable bool
}

var (
	externalSecrets = schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1beta1", Resource: "externalsecrets"}
	secretStores    = schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1beta1", Resource: "clustersecretstores"}
	sealedSecrets   = schema.GroupVersionResource{Group: "bitnami.com", Version: "v1alpha1", Resource: "sealedsecrets"}
	podResource     = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secretResource  = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// undecryptable is what nobody has the key for.
const undecryptable = "AgA2X5N0Q...encrypted...base64=="

// provide starts the controllers on a cluster that has their kinds.
func provide(t *testing.T, c fleet.Cluster) *providers {
	t.Helper()
	cfg, err := c.Config()
	must(t, err)
	p := &providers{t: t}
	p.dynamic, err = dynamic.NewForConfig(cfg)
	must(t, err)
	p.core, err = kubernetes.NewForConfig(cfg)
	must(t, err)
	for gvr, handle := range map[schema.GroupVersionResource]func(context.Context, *unstructured.Unstructured) error{
		externalSecrets: p.externalSecret, sealedSecrets: p.sealedSecret, podResource: p.pod, secretResource: p.secret,
	} {
		w, err := p.dynamic.Resource(gvr).Watch(t.Context(), metav1.ListOptions{})
		must(t, err)
		go func() {
			for e := range w.ResultChan() {
				u, ok := e.Object.(*unstructured.Unstructured)
				if !ok || e.Type == "DELETED" || u.GetDeletionTimestamp() != nil {
					continue
				}
				if err := handle(t.Context(), u); err != nil && t.Context().Err() == nil && !apierrors.IsNotFound(err) {
					t.Errorf("%s %s/%s: %v", gvr.Resource, u.GetNamespace(), u.GetName(), err)
				}
			}
		}()
	}
	return p
}

func (p *providers) reach(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unreachable = !yes
}

// status writes the status of an object when it changed.
func (p *providers) status(ctx context.Context, gvr schema.GroupVersionResource, u *unstructured.Unstructured, status map[string]any) error {
	raw, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = p.dynamic.Resource(gvr).Namespace(u.GetNamespace()).Patch(ctx, u.GetName(), types.MergePatchType, raw, metav1.PatchOptions{}, "status")
	return err
}

func ready(kind, status, reason, message string) []any {
	return []any{map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}}
}

// conclusion is the status and reason that an object carries already.
func conclusion(u *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	if len(conditions) == 0 {
		return ""
	}
	c, _ := conditions[0].(map[string]any)
	return fmt.Sprint(c["status"])
}

// externalSecret looks at an object once, and again when it is touched: with a
// new force-sync annotation for example.
func (p *providers) externalSecret(ctx context.Context, u *unstructured.Unstructured) error {
	if conclusion(u) == "True" {
		return nil
	}
	forced := u.GetAnnotations()["force-sync"]
	handled, _, _ := unstructured.NestedString(u.Object, "status", "handled")
	if conclusion(u) != "" && handled == forced {
		return nil
	}
	store, _, _ := unstructured.NestedString(u.Object, "spec", "secretStoreRef", "name")
	_, err := p.dynamic.Resource(secretStores).Get(ctx, store, metav1.GetOptions{})
	p.mu.Lock()
	away := p.unreachable
	p.mu.Unlock()
	if err != nil || away {
		return p.status(ctx, externalSecrets, u, map[string]any{"handled": forced, "conditions": ready("Ready", "False", "SecretSyncedError", "could not get secret data from provider")})
	}
	data := map[string][]byte{}
	entries, _, _ := unstructured.NestedSlice(u.Object, "spec", "data")
	for _, e := range entries {
		m, _ := e.(map[string]any)
		data[fmt.Sprint(m["secretKey"])] = []byte("from-the-store")
	}
	name, _, _ := unstructured.NestedString(u.Object, "spec", "target", "name")
	if err := p.make(ctx, u, name, data); err != nil {
		return err
	}
	return p.status(ctx, externalSecrets, u, map[string]any{"handled": forced, "refreshTime": time.Now().UTC().Format(time.RFC3339), "conditions": ready("Ready", "True", "SecretSynced", "Secret was synced")})
}

func (p *providers) sealedSecret(ctx context.Context, u *unstructured.Unstructured) error {
	seen, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if seen == u.GetGeneration() {
		return nil
	}
	sealed, _, _ := unstructured.NestedStringMap(u.Object, "spec", "encryptedData")
	data := map[string][]byte{}
	for k, v := range sealed {
		if v == undecryptable {
			return p.status(ctx, sealedSecrets, u, map[string]any{"observedGeneration": u.GetGeneration(), "conditions": ready("Synced", "False", "", "no key could decrypt secret (url)")})
		}
		data[k] = []byte(strings.ToLower(v))
	}
	if err := p.make(ctx, u, u.GetName(), data); err != nil {
		return err
	}
	return p.status(ctx, sealedSecrets, u, map[string]any{"observedGeneration": u.GetGeneration(), "conditions": ready("Synced", "True", "", "")})
}

// make creates the Secret that belongs to another object.
func (p *providers) make(ctx context.Context, owner *unstructured.Unstructured, name string, data map[string][]byte) error {
	yes := true
	_, err := p.core.CoreV1().Secrets(owner.GetNamespace()).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(), Controller: &yes}},
	}, Data: data}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// pod starts the containers of a migration once its Secret is there.
func (p *providers) pod(ctx context.Context, u *unstructured.Unstructured) error {
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	if !strings.HasPrefix(u.GetName(), "db-migration-") || phase != "Running" || u.GetAnnotations()["fleet.sluice.dev/behavior"] != "never-ready" {
		return nil
	}
	status := map[string]any{"phase": "Succeeded", "containerStatuses": []any{container(map[string]any{"terminated": map[string]any{"exitCode": 0, "reason": "Completed"}})}}
	_, err := p.core.CoreV1().Secrets(u.GetNamespace()).Get(ctx, "db-credentials", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if strings.Contains(fmt.Sprint(u.Object["status"]), "CreateContainerConfigError") {
			return nil
		}
		status = map[string]any{"containerStatuses": []any{container(map[string]any{"waiting": map[string]any{
			"reason": "CreateContainerConfigError", "message": `secret "db-credentials" not found`}})}}
	} else if err != nil {
		return err
	}
	return p.status(ctx, podResource, u, status)
}

func container(state map[string]any) map[string]any {
	return map[string]any{"name": "migrate", "image": "myorg/db-migrator", "imageID": "", "ready": false, "restartCount": 0, "state": state}
}

// secret wakes the pods that wait for it.
func (p *providers) secret(ctx context.Context, u *unstructured.Unstructured) error {
	if u.GetName() != "db-credentials" {
		return nil
	}
	pods, err := p.dynamic.Resource(podResource).Namespace(u.GetNamespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var all []error
	for i := range pods.Items {
		all = append(all, p.pod(ctx, &pods.Items[i]))
	}
	return errors.Join(all...)
}
