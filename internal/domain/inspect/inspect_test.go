package inspect_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/inspect"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestDescribe(t *testing.T) {
	for name, c := range map[string]struct {
		object string
		want   inspect.Node
	}{
		"pod that crashes": {`
apiVersion: v1
kind: Pod
metadata:
  {name: web-1, namespace: shop, uid: u1, resourceVersion: "7", labels: {app: web}, creationTimestamp: "2026-01-02T03:04:05Z",
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u0}]}
spec: {nodeName: node-1, containers: [{name: a, image: "a:1"}, {name: b, image: "b:1"}]}
status:
  phase: Running
  containerStatuses:
  - {name: a, ready: true, restartCount: 0, state: {running: {}}}
  - {name: b, ready: false, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}}
`, inspect.Node{
			Object:          inspect.Object{Version: "v1", Kind: "Pod", Namespace: "shop", Name: "web-1", UID: "u1"},
			Parents:         []inspect.Object{{Group: "apps", Version: "v1", Kind: "ReplicaSet", Namespace: "shop", Name: "web", UID: "u0"}},
			Info:            []inspect.Info{{"Status Reason", "CrashLoopBackOff"}, {"Node", "node-1"}, {"Containers", "1/2"}, {"Restart Count", "3"}},
			Networking:      &inspect.Networking{Labels: map[string]string{"app": "web"}},
			ResourceVersion: "7", Images: []string{"a:1", "b:1"},
		}},
		"replica set": {`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, namespace: shop, annotations: {deployment.kubernetes.io/revision: "3"}}
`, inspect.Node{
			Object: inspect.Object{Group: "apps", Version: "v1", Kind: "ReplicaSet", Namespace: "shop", Name: "web"},
			Info:   []inspect.Info{{"Revision", "Rev:3"}},
		}},
		"service": {`
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}
`, inspect.Node{
			Object:     inspect.Object{Version: "v1", Kind: "Service", Namespace: "shop", Name: "web"},
			Networking: &inspect.Networking{TargetLabels: map[string]string{"app": "web"}, Ingress: []inspect.Address{{IP: "192.0.2.1"}}},
		}},
		"ingress": {`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  tls: [{hosts: [shop.example.com]}]
  rules:
  - host: shop.example.com
    http: {paths: [{path: /cart/, backend: {service: {name: cart}}}, {path: /, backend: {service: {name: web}}}]}
  - host: '*.example.com'
    http: {paths: [{path: /, backend: {service: {name: web}}}]}
  - http: {paths: [{path: /, backend: {service: {name: web}}}]}
status: {loadBalancer: {ingress: [{hostname: lb.example.com}]}}
`, inspect.Node{
			Object: inspect.Object{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress", Namespace: "shop", Name: "web"},
			Networking: &inspect.Networking{
				Ingress: []inspect.Address{{Hostname: "lb.example.com"}},
				TargetRefs: []inspect.Object{
					{Version: "v1", Kind: "Service", Namespace: "shop", Name: "cart"}, {Version: "v1", Kind: "Service", Namespace: "shop", Name: "web"},
				},
				ExternalURLs: []string{"https://shop.example.com/cart", "https://shop.example.com", "http://lb.example.com"},
			},
		}},
	} {
		u := parse(t, c.object)
		got := inspect.Describe(u)
		if created := u.GetCreationTimestamp(); got.CreatedAt.IsZero() != created.IsZero() || !got.CreatedAt.Equal(created.Time) {
			t.Errorf("%s: created at %s, want %s", name, got.CreatedAt, created)
		}
		got.CreatedAt = c.want.CreatedAt
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestGrow orders parents before children, leaves strangers out and is not
// caught by owners that own each other.
func TestGrow(t *testing.T) {
	node := func(kind, name, owner string) inspect.Node {
		n := inspect.Node{Object: inspect.Object{Kind: kind, Name: name, UID: name, Namespace: "shop"}}
		if owner != "" {
			n.Parents = []inspect.Object{{Name: owner, UID: owner, Namespace: "shop"}}
		}
		return n
	}
	wide := node("Cluster", "wide", "")
	wide.Namespace = ""
	missing := inspect.Node{Object: inspect.Object{Kind: "Missing", Name: "gone"}}
	roots := []inspect.Node{node("Web", "b", ""), missing, node("Web", "a", ""), wide}
	others := []inspect.Node{
		node("Pod", "a-1-x", "a-1"), node("Set", "a-1", "a"), node("Set", "a-0", "a"), node("Pod", "alone", "elsewhere"),
		node("Loop", "x", "y"), node("Loop", "y", "x"), node("Set", "w-1", "wide"),
	}
	var got []string
	for _, n := range inspect.Grow(roots, others) {
		line := n.Kind + "/" + n.Name
		for _, p := range n.Parents {
			line += " < " + p.Kind + "/" + p.Namespace + "/" + p.Name
		}
		got = append(got, line)
	}
	want := []string{
		"Cluster/wide", "Set/w-1 < Cluster//wide", "Missing/gone", "Web/a", "Set/a-0 < Web/shop/a", "Set/a-1 < Web/shop/a",
		"Pod/a-1-x < Set/shop/a-1", "Web/b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAutoscalersPointAtWhatTheyScale, when they say it.
func TestAutoscalersPointAtWhatTheyScale(t *testing.T) {
	u := parse(t, `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`)
	want := &inspect.Networking{TargetRefs: []inspect.Object{{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}}}
	if diff := cmp.Diff(want, inspect.Describe(u).Networking); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delete(u.Object, "spec")
	if got := inspect.Describe(u).Networking; got != nil {
		t.Errorf("without a target: %+v", got)
	}
}

func TestChildKinds(t *testing.T) {
	kind := func(group, name string) schema.GroupVersionKind {
		return schema.GroupVersionKind{Group: group, Version: "v1", Kind: name}
	}
	got := inspect.ChildKinds([]schema.GroupVersionKind{kind("", "Service"), kind("apps", "DaemonSet"), kind("apps", "StatefulSet"), kind("batch", "CronJob"), kind("", "ConfigMap")})
	want := []schema.GroupVersionKind{kind("discovery.k8s.io", "EndpointSlice"), kind("apps", "ControllerRevision"), kind("batch", "Job")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
