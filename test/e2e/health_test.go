package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const serviceDeployments = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicedeployments.internal.myplatform.io}
spec:
  group: internal.myplatform.io
  scope: Namespaced
  names: {plural: servicedeployments, singular: servicedeployment, kind: ServiceDeployment}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// serviceDeploymentHealth is the script of the first article.
const serviceDeploymentHealth = `hs = {}
if obj.status ~= nil then
  if obj.status.phase == "Ready" then
    hs.status = "Healthy"
    hs.message = "Service deployment is ready"
    return hs
  end
  if obj.status.phase == "Failed" then
    hs.status = "Degraded"
    hs.message = obj.status.message
    return hs
  end
end
hs.status = "Progressing"
hs.message = "Waiting for service deployment"
return hs
`

const healthKey = "resource.customizations.health.internal.myplatform.io_ServiceDeployment"

// setting writes one key of argocd-cm.
func setting(t *testing.T, r *rig.Rig, key, value string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{key: value}})
	must(t, err)
	cm := &corev1.ConfigMap{}
	cm.Namespace, cm.Name = rig.Namespace, "argocd-cm"
	must(t, r.Hub.Patch(t.Context(), cm, client.RawPatch(types.MergePatchType, patch)))
}

// judged waits until the only resource of an Application, and it itself, have
// a health; message is that of the resource.
func judged(t *testing.T, r *rig.Rig, name, code, message string) *v1alpha1.Application {
	t.Helper()
	var last *v1alpha1.Application
	must(t, rig.Until(t.Context(), 40*time.Second, name+" is "+code, func(ctx context.Context) (bool, error) {
		app, err := get(ctx, r, name)
		if err != nil {
			return false, err
		}
		last = app
		if len(app.Status.Resources) != 1 || app.Status.Resources[0].Health == nil {
			return false, fmt.Errorf("%s, resources %+v, conditions %+v", app.Status.Health.Status, app.Status.Resources, app.Status.Conditions)
		}
		h := app.Status.Resources[0].Health
		if string(app.Status.Health.Status) != code || string(h.Status) != code || !strings.HasPrefix(h.Message, message) {
			return false, fmt.Errorf("%s, resource %s %q", app.Status.Health.Status, h.Status, h.Message)
		}
		return true, nil
	}))
	return last
}

// TestCustomHealth judges a custom resource by a script of argocd-cm that is
// added, replaced by a hostile one and repaired while the process runs; before
// that it runs resource actions.
func TestHealthAndActions(t *testing.T) {
	r := start(t, "one")
	file := filepath.Join(t.TempDir(), "crd.yaml")
	must(t, os.WriteFile(file, []byte(serviceDeployments), 0o600))
	if out, err := kubectl(t, r, "one", "apply", "-f", file); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("actions", func(t *testing.T) { actions(t, r) })
	_, err := r.Repo.Commit("v1", gitserver.Files{
		"apps/custom/sd.yaml": "apiVersion: internal.myplatform.io/v1\nkind: ServiceDeployment\nmetadata: {name: pay}\nspec: {image: a}\n",
		"apps/side/svc.yaml":  "apiVersion: v1\nkind: Service\nmetadata: {name: side}\nspec: {ports: [{port: 80}]}\n",
	})
	must(t, err)
	must(t, r.Launch())
	setting(t, r, healthKey, serviceDeploymentHealth)
	for _, name := range []string{"custom", "side"} {
		must(t, r.Apply(t.Context(), fmt.Sprintf(plainApp, name, "default", r.Git.URL("gitops-fleet"), "apps/"+name, "name: one"), &v1alpha1.Application{}))
	}
	judged(t, r, "side", "Healthy", "")
	judged(t, r, "custom", "Progressing", "Waiting for service deployment")

	status := func(text string) {
		t.Helper()
		if out, err := kubectl(t, r, "one", "patch", "servicedeployment", "pay", "-n", "side", "--subresource=status", "--type=merge", "-p", text); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	status(`{"status":{"phase":"Failed","message":"no image"}}`)
	judged(t, r, "custom", "Degraded", "no image")
	status(`{"status":{"phase":"Ready"}}`)
	judged(t, r, "custom", "Healthy", "Service deployment is ready")

	setting(t, r, healthKey, "local s = 'x' while true do s = s .. s end")
	app := judged(t, r, "custom", "Unknown", "health script internal.myplatform.io/ServiceDeployment of argocd-cm was stopped: it used more than 64 MiB of memory")
	explained := false
	for _, c := range app.Status.Conditions {
		explained = explained || c.Type == v1alpha1.ConditionComparisonError && strings.HasPrefix(c.Message, "error setting app health: health script")
	}
	if !explained {
		t.Errorf("conditions %+v", app.Status.Conditions)
	}
	judged(t, r, "side", "Healthy", "")

	setting(t, r, healthKey, serviceDeploymentHealth)
	app = judged(t, r, "custom", "Healthy", "Service deployment is ready")
	if len(app.Status.Conditions) > 0 {
		t.Errorf("conditions %+v", app.Status.Conditions)
	}
}
