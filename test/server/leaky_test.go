package server

import (
	"context"
	"errors"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/server/application"
)

// leaky is an engine that masks nothing: what it tells of Secrets must not pass
// the server.
type leaky struct{}

var _ application.Engine = leaky{}

func secret(field string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{
			"name": "db", "namespace": "x", "uid": "u1", "annotations": map[string]any{
				"kubectl.kubernetes.io/last-applied-configuration": `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"password":"` + canary("applied") + `"}}`,
				"vault/token": canary("annotation"),
			},
		},
		"data":       map[string]any{"password": encoded(canary(field))},
		"stringData": map[string]any{"token": canary(field + "-text")},
	}}
}

// Capabilities are those of some cluster.
func (leaky) Capabilities(string) (string, []string, error) { return "1.36", nil, nil }

// Managed tells everything.
func (leaky) Managed(context.Context, *v1alpha1.Application) ([]application.Managed, error) {
	return []application.Managed{{
		Kind: "Secret", Namespace: "x", Name: "db", Target: secret("target"), Live: secret("live"), Normalized: secret("normalized"), Predicted: secret("predicted"), Modified: true,
	}}, nil
}

// Tree has the Secret and a pod.
func (leaky) Tree(context.Context, *v1alpha1.Application) (*application.Tree, error) {
	db := application.ResourceRef{Version: "v1", Kind: "Secret", Namespace: "x", Name: "db", UID: "u1"}
	pod := application.ResourceRef{Version: "v1", Kind: "Pod", Namespace: "x", Name: "p", UID: "u2"}
	return &application.Tree{Nodes: []application.Node{{ResourceRef: db}, {ResourceRef: pod, ParentRefs: []application.ResourceRef{db}}}}, nil
}

// Changes never come.
func (leaky) Changes(*v1alpha1.Application) (<-chan struct{}, func()) { return nil, func() {} }

// Live tells everything.
func (leaky) Live(_ context.Context, _ *v1alpha1.Application, r application.Ref) (*unstructured.Unstructured, error) {
	if r.Name != "db" {
		return nil, nil
	}
	return secret("live"), nil
}

// Patch quotes what is there.
func (leaky) Patch(context.Context, *v1alpha1.Application, *unstructured.Unstructured, types.PatchType, []byte) (*unstructured.Unstructured, error) {
	return nil, errors.New("Secret db is invalid: data.password: Invalid value: " + canary("quoted"))
}

// Delete is fine.
func (leaky) Delete(context.Context, *v1alpha1.Application, *unstructured.Unstructured, application.Deletion) error {
	return nil
}

// Actions are one.
func (leaky) Actions(context.Context, *v1alpha1.Application, *unstructured.Unstructured) ([]action.Action, error) {
	return []action.Action{{Name: "restart"}}, nil
}

// Act is fine.
func (leaky) Act(context.Context, *v1alpha1.Application, *unstructured.Unstructured, application.Action) error {
	return nil
}

// Events are one.
func (leaky) Events(context.Context, *v1alpha1.Application, corev1.ObjectReference) (*corev1.EventList, error) {
	return &corev1.EventList{Items: []corev1.Event{{ObjectMeta: metav1.ObjectMeta{Name: "e"}, Reason: "Pulled"}}}, nil
}

// Logs are two lines.
func (leaky) Logs(context.Context, *v1alpha1.Application, application.LogSource) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("2026-01-01T00:00:00Z one\n2026-01-01T00:00:01Z two\n")), nil
}

// Predict tells everything.
func (leaky) Predict(context.Context, *v1alpha1.Application, *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return secret("predicted"), nil
}
