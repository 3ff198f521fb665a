package perform_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/controller/perform"
	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// written notes the order of writes; the real cluster is that of test/e2e.
type written struct {
	lines    []string
	noStatus bool
	refuse   error
}

func (w *written) Scope(schema.GroupVersionKind) (bool, bool) { return true, true }

func (w *written) TryCreate(_ context.Context, o *unstructured.Unstructured) error {
	w.lines = append(w.lines, "try "+o.GetKind()+" "+o.GetName())
	return w.refuse
}

func (w *written) Create(_ context.Context, o *unstructured.Unstructured) error {
	w.lines = append(w.lines, "create "+o.GetKind()+" "+o.GetName())
	return nil
}

func (w *written) Merge(_ context.Context, _ *unstructured.Unstructured, patch []byte, sub ...string) error {
	w.lines = append(w.lines, strings.Join(append([]string{"patch"}, sub...), " ")+" "+string(patch))
	if w.noStatus && len(sub) > 0 {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "rollouts/status"}, "web")
	}
	return nil
}

func live(apiVersion, kind string, fields map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "web", "namespace": "shop", "uid": "u1"}}}
	for key, value := range fields {
		u.Object[key] = value
	}
	return u
}

const custom = `
apps/Deployment:
  actions: |
    definitions:
    - name: two
      action.lua: |
        local function made(name) return {apiVersion = "v1", kind = "ConfigMap", metadata = {name = name, namespace = actionParams.namespace}} end
        obj.spec.paused = true
        return {{operation = "create", resource = made("a")}, {operation = "patch", resource = obj}, {operation = "create", resource = made("b")}}
`

func TestRun(t *testing.T) {
	deployment := live("apps/v1", "Deployment", map[string]any{"spec": map[string]any{"replicas": int64(1)}})
	rollout := live("argoproj.io/v1alpha1", "Rollout", map[string]any{"spec": map[string]any{"paused": true}, "status": map[string]any{"pauseConditions": []any{map[string]any{"reason": "x"}}}})
	for name, c := range map[string]struct {
		live    *unstructured.Unstructured
		action  string
		params  map[string]string
		cluster written
		want    []string
		err     string
	}{
		"scale":           {live: deployment, action: "scale", params: map[string]string{"replicas": "3"}, want: []string{`patch {"spec":{"replicas":3}}`}},
		"status and spec": {live: rollout, action: "resume", want: []string{`patch status {"status":{"pauseConditions":null}}`, `patch {"spec":{"paused":false}}`}},
		"no status subresource": {live: rollout, action: "resume", cluster: written{noStatus: true}, want: []string{
			`patch status {"status":{"pauseConditions":null}}`, `patch {"spec":{"paused":false},"status":{"pauseConditions":null}}`}},
		"creations are tried first": {live: deployment, action: "two", params: map[string]string{"namespace": "shop"}, want: []string{
			"try ConfigMap a", "try ConfigMap b", "create ConfigMap a", `patch {"spec":{"paused":true}}`, "create ConfigMap b"}},
		"a refused creation": {live: deployment, action: "two", params: map[string]string{"namespace": "shop"}, cluster: written{refuse: errors.New("quota")},
			want: []string{"try ConfigMap a"}, err: "action two: create /ConfigMap/a: quota"},
		"another namespace": {live: deployment, action: "two", params: map[string]string{"namespace": "kube-system"},
			err: "application is not permitted to manage /ConfigMap/a in kube-system: namespace kube-system is not permitted in project 'shop'"},
		"unknown action": {live: deployment, action: "fly", err: `Deployment/web has no action "fly": list its actions to see which it has`},
	} {
		t.Run(name, func(t *testing.T) {
			shipped, err := lua.NewShipped(rules.Files)
			if err != nil {
				t.Fatal(err)
			}
			recorder := record.NewFakeRecorder(10)
			s := perform.New(perform.Options{
				Shipped: shipped, Runner: lua.NewVM(), Recorder: recorder, Log: slog.New(slog.DiscardHandler),
				Clock: testclock.NewFakeClock(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)),
			})
			s.Reload(map[string]string{"resource.customizations": custom})
			project := &v1alpha1.AppProject{}
			project.Name = "shop"
			project.Spec.Destinations = []v1alpha1.ApplicationDestination{{Server: "https://one", Namespace: "shop"}}
			err = s.Run(t.Context(), perform.Request{
				App: &v1alpha1.Application{}, Project: project, Destination: destination.Cluster{Server: "https://one"},
				Cluster: &c.cluster, Live: c.live, Action: c.action, Params: c.params,
			})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.err {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if diff := cmp.Diff(c.want, c.cluster.lines); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if told := len(recorder.Events) > 0; told != (c.err == "") {
				t.Errorf("an event was emitted: %v", told)
			}
		})
	}
}
