package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// stack is the production stack of the second article on the hub itself, with
// the controllers of its third-party kinds.
type stack struct {
	*testing.T
	rig       *rig.Rig
	hub       fleet.Cluster
	providers *providers
}

func (s *stack) read(name string, replace ...string) string {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/stack", name+".yaml"))
	must(s.T, err)
	return strings.NewReplacer(append(replace, "REPOSITORY", s.rig.Git.URL("gitops-fleet"))...).Replace(string(raw))
}

// release is a state of the stack in Git.
type release struct {
	name, namespace, version string
	// secret is the file that provides db-credentials, sealed its content.
	secret, sealed string
	// migration is how the pods of the migration behave.
	migration string
	// attempts of the migration beside the first, "3" when empty.
	attempts string
	// extra objects of the base.
	extra string
}

func (s *stack) commit(v release) string {
	s.Helper()
	replace := []string{"NAMESPACE", v.namespace, "VERSION", v.version, "SEALED", v.sealed, "MIGRATION", v.migration, "ATTEMPTS", cmp.Or(v.attempts, "3")}
	base := "apps/" + v.name + "/base/"
	id, err := s.rig.Repo.Commit(v.name+" "+v.version, gitserver.Files{
		base + "app.yaml": s.read("base", replace...), base + "hooks.yaml": s.read("hooks", replace...),
		base + "secret.yaml":        s.read(v.secret, replace...) + "---\n" + v.extra,
		base + "kustomization.yaml": "resources: [hooks.yaml, app.yaml, secret.yaml]\n",
		"apps/" + v.name + "/overlays/production/kustomization.yaml": "resources: [../../base]\nnamespace: " + v.namespace + "\n",
	})
	must(s.T, err)
	return id
}

func (s *stack) create(v release) {
	s.Helper()
	must(s.T, s.rig.Apply(s.Context(), s.read("application", "NAMESPACE", v.namespace, "NAME", v.name), &v1alpha1.Application{}))
}

// until waits for a state of an Application.
func (s *stack) until(name, what string, ok func(*v1alpha1.Application) bool) *v1alpha1.Application {
	s.Helper()
	var last *v1alpha1.Application
	must(s.T, rig.Until(s.Context(), 40*time.Second, what, func(ctx context.Context) (bool, error) {
		app, err := get(ctx, s.rig, name)
		if err != nil {
			return false, err
		}
		last = app
		state, phase, message := app.Status.OperationState, "", ""
		if state != nil {
			phase, message = string(state.Phase), state.Message
		}
		if ok(app) {
			return true, nil
		}
		return false, fmt.Errorf("%s, %s, operation %s: %s; conditions %v", app.Status.Sync.Status, app.Status.Health.Status, phase, message, app.Status.Conditions)
	}))
	return last
}

// fails waits for an operation of a revision that failed, or waits for its
// next attempt, with a text in its message.
func (s *stack) fails(name, revision, text string) *v1alpha1.Application {
	s.Helper()
	return s.until(name, "a failure with "+text, func(app *v1alpha1.Application) bool {
		o := app.Status.OperationState
		return o != nil && o.SyncResult != nil && o.SyncResult.Revision == revision && (o.Phase.Completed() || o.RetryCount > 0) && strings.Contains(o.Message, text)
	})
}

func (s *stack) patch(name, patch string) {
	s.Helper()
	app, err := get(s.Context(), s.rig, name)
	must(s.T, err)
	must(s.T, s.rig.Hub.Patch(s.Context(), app, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// lines are those of the audit log of a namespace, in order of arrival.
func (s *stack) lines(namespace string) []fleet.Audit {
	s.Helper()
	all, err := s.hub.AuditLines()
	must(s.T, err)
	all = slices.DeleteFunc(all, func(a fleet.Audit) bool {
		return a.ObjectRef.Namespace != namespace && a.ObjectRef.Name != namespace || !a.Write()
	})
	slices.SortStableFunc(all, func(a, b fleet.Audit) int { return a.Received.Compare(b.Received) })
	return all
}

func ours(a fleet.Audit) bool { return strings.HasPrefix(a.UserAgent, "argocd-application-controller") }

// event is a line of the story: who wrote what.
func event(a fleet.Audit) string {
	text := a.Verb + " " + a.ObjectRef.Resource + "/" + a.ObjectRef.Name
	if a.ObjectRef.Subresource != "" {
		text += "/" + a.ObjectRef.Subresource
	}
	return text
}

// story tells what happened in a namespace since a moment: our writes, and when
// others declared an object well.
func (s *stack) story(namespace string, since time.Time) []string {
	s.Helper()
	var out []string
	for _, a := range s.lines(namespace) {
		if a.Received.Before(since) {
			continue
		}
		status := a.ObjectRef.Subresource == "status"
		well := status && (bytes.Contains(a.RequestObject, []byte(`"reason":"SecretSynced"`)) || bytes.Contains(a.RequestObject, []byte(`"status":"True","type":"Synced"`)) ||
			a.ObjectRef.Resource == "jobs" && bytes.Contains(a.RequestObject, []byte(`"type":"Complete"`)) ||
			a.ObjectRef.Resource == "deployments" && bytes.Contains(a.RequestObject, []byte(`"availableReplicas":3`)) && bytes.Contains(a.RequestObject, []byte(`"updatedReplicas":3,"readyReplicas":3`)) && !bytes.Contains(a.RequestObject, []byte(`"replicas":4`)))
		switch text := event(a); {
		case ours(a) && a.ObjectRef.Subresource == "":
			out = append(out, text)
		case well && !slices.Contains(out, "well "+a.ObjectRef.Resource+"/"+a.ObjectRef.Name):
			out = append(out, "well "+a.ObjectRef.Resource+"/"+a.ObjectRef.Name)
		}
	}
	return out
}

// told compares a story; lines of one wanted entry, separated by " & ", may
// come in any order among themselves.
func (s *stack) told(got []string, want ...string) {
	s.Helper()
	rest := got
	for _, group := range want {
		names := strings.Split(group, " & ")
		if len(rest) < len(names) {
			s.Fatalf("the story ends before %q:\n  %s", group, strings.Join(got, "\n  "))
		}
		for _, n := range names {
			if !slices.Contains(rest[:len(names)], n) {
				s.Fatalf("%q is not next, but %v, in\n  %s", n, rest[:len(names)], strings.Join(got, "\n  "))
			}
		}
		rest = rest[len(names):]
	}
	if len(rest) > 0 {
		s.Errorf("further lines %v in\n  %s", rest, strings.Join(got, "\n  "))
	}
}

// TestProductionStack plays the stack of the second article and its failure
// cases on a real cluster; the order is read from the cluster's audit log.
func TestProductionStack(t *testing.T) {
	r := start(t, "")
	s := &stack{T: t, rig: r, hub: r.HubPart}
	for _, file := range []string{"crds", "store"} {
		path := filepath.Join(t.TempDir(), file+".yaml")
		must(t, os.WriteFile(path, []byte(s.read(file)), 0o600))
		must(t, rig.Until(t.Context(), 20*time.Second, file+" installed", func(context.Context) (bool, error) {
			out, err := kubectl(t, r, "hub", "apply", "-f", path)
			if err != nil {
				return false, fmt.Errorf("%w: %s", err, out)
			}
			return true, nil
		}))
	}
	s.providers = provide(t, r.HubPart)
	must(t, r.Apply(t.Context(), s.read("project"), &v1alpha1.AppProject{}))
	must(t, r.Launch())
	parts := []struct {
		name string
		run  func(*stack)
	}{
		{"external secret", (*stack).external}, {"sealed secret", (*stack).sealed}, {"kinds the project refuses", (*stack).refused},
		{"a failing migration", (*stack).failing}, {"case 1 endless loop", (*stack).loop}, {"case 3 secret not synced", (*stack).unsynced},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			part := *s
			part.T = t
			p.run(&part)
		})
	}
}

// external installs the stack as printed. The migration runs before the Sync
// phase and needs the Secret that the Sync phase brings: the first install
// hangs, says so, and is freed by one sync without hooks.
func (s *stack) external() {
	v := release{name: "my-app", namespace: "production", version: "v2.5.0", secret: "external", migration: "never-ready"}
	first := s.commit(v)
	s.create(v)
	s.until("my-app", "a hook that waits and says for what", func(app *v1alpha1.Application) bool {
		o := app.Status.OperationState
		return o != nil && strings.HasPrefix(o.Message, "waiting for completion of hook batch/Job/db-migration") &&
			strings.Contains(o.Message, `CreateContainerConfigError: secret "db-credentials" not found`)
	})
	s.told(s.story("production", time.Time{}), "patch namespaces/production", "create jobs/db-migration")
	s.patch("my-app", `{"status": {"operationState": {"phase": "Terminating"}}}`)
	s.fails("my-app", first, "Operation terminated")
	since := time.Now()
	s.patch("my-app", `{"operation": {"sync": {"revision": "`+first+`", "syncStrategy": {"apply": {}}}}}`)
	good(s.T, s.rig, "my-app", first)
	s.told(s.story("production", since),
		"patch serviceaccounts/app-service-account", "patch roles/app", "patch rolebindings/app", "patch externalsecrets/db-credentials", "well externalsecrets/db-credentials",
		"patch configmaps/app-config", "patch services/my-app", "patch deployments/my-app", "well deployments/my-app",
		"patch horizontalpodautoscalers/my-app-hpa", "patch servicemonitors/my-app-monitor")

	since = time.Now()
	v.version = "v2.6.0"
	next := s.commit(v)
	app := good(s.T, s.rig, "my-app", next)
	s.told(s.story("production", since), "create jobs/db-migration", "well jobs/db-migration", "patch jobs/db-migration",
		"patch deployments/my-app", "well deployments/my-app", "create jobs/smoke-test", "well jobs/smoke-test", "patch jobs/smoke-test")
	if n := len(app.Status.OperationState.SyncResult.Resources); n != 12 {
		s.Errorf("%d results, want 10 objects and 2 hooks: %+v", n, app.Status.OperationState.SyncResult.Resources)
	}
}

// sealed installs the alternative with a secret nobody can decrypt, and mends
// it in Git.
func (s *stack) sealed() {
	v := release{name: "my-sealed-app", namespace: "production-sealed", version: "v2.5.0", secret: "sealed", sealed: undecryptable, migration: "ready"}
	bad := s.commit(v)
	s.create(v)
	s.fails("my-sealed-app", bad, "no key could decrypt secret")
	got := s.story("production-sealed", time.Time{})
	s.told(got[:min(len(got), 7)], "patch namespaces/production-sealed", "create jobs/db-migration", "well jobs/db-migration", "patch jobs/db-migration",
		"patch serviceaccounts/app-service-account", "patch roles/app", "patch rolebindings/app")
	if !slices.Contains(got, "create jobs/sync-fail-notification") || slices.Contains(got, "patch deployments/my-app") {
		s.Errorf("want the notification and no Deployment in\n  %s", strings.Join(got, "\n  "))
	}
	since := time.Now()
	v.sealed = "QUJDREVG"
	mended := s.commit(v)
	if app := good(s.T, s.rig, "my-sealed-app", mended); app.Status.OperationState.RetryCount != 0 {
		s.Errorf("the mended secret needed %d repetitions: its old status was believed", app.Status.OperationState.RetryCount)
	}
	got = s.story("production-sealed", since)
	at := slices.Index(got, "patch sealedsecrets/db-credentials")
	if at < 0 {
		s.Fatalf("the secret was not written: %v", got)
	}
	s.told(got[at:], "patch sealedsecrets/db-credentials", "well sealedsecrets/db-credentials", "patch configmaps/app-config",
		"patch services/my-app", "patch deployments/my-app", "well deployments/my-app", "patch horizontalpodautoscalers/my-app-hpa",
		"patch servicemonitors/my-app-monitor", "create jobs/smoke-test", "well jobs/smoke-test", "patch jobs/smoke-test")
}

// refused adds kinds that the project does not permit: nothing is written.
func (s *stack) refused() {
	v := release{name: "my-app", namespace: "production", version: "v2.7.0", secret: "external", migration: "ready",
		extra: "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: quota}\nspec: {hard: {pods: '9'}}\n"}
	since := time.Now()
	s.fails("my-app", s.commit(v), "resource :ResourceQuota is not permitted in project production")
	s.told(s.story("production", since))
	v.extra = ""
	good(s.T, s.rig, "my-app", s.commit(v))
}

// failing commits a migration that fails: its notification runs, nothing else
// is written, and the next commit mends it.
func (s *stack) failing() {
	v := release{name: "my-app", namespace: "production", version: "v2.8.0", secret: "external", migration: "fail", attempts: "0"}
	since := time.Now()
	id := s.commit(v)
	s.until("my-app", "a failed migration that names the hook", func(app *v1alpha1.Application) bool {
		o := app.Status.OperationState
		return o.SyncResult != nil && o.SyncResult.Revision == id && (o.RetryCount > 0 || o.Phase == v1alpha1.OperationFailed)
	})
	got := s.story("production", since)
	if !slices.Contains(got, "create jobs/sync-fail-notification") || slices.Contains(got, "patch deployments/my-app") || slices.Contains(got, "create jobs/smoke-test") {
		s.Errorf("want the notification, no Deployment and no smoke test in\n  %s", strings.Join(got, "\n  "))
	}
	v.version, v.migration, v.attempts = "v2.8.1", "ready", ""
	good(s.T, s.rig, "my-app", s.commit(v))
	prints(s.T, s.rig, "hub", "myorg/my-app:v2.8.1", "get", "deployment", "my-app", "-n", "production", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

// loop plays the endless loop of a Deployment that somebody else scales: self
// healing takes the replicas back until the rule of the article ends it.
func (s *stack) loop() {
	since := time.Now()
	heals := func() int {
		n := 0
		for _, a := range s.lines("production") {
			if a.Received.After(since) && ours(a) && a.ObjectRef.Resource == "deployments" {
				n++
			}
		}
		return n
	}
	scale := func() {
		out, err := kubectl(s.T, s.rig, "hub", "scale", "deployment", "my-app", "-n", "production", "--replicas", "5")
		if err != nil {
			s.Fatalf("%v: %s", err, out)
		}
	}
	replicas := []string{"get", "deployment", "my-app", "-n", "production", "-o", "jsonpath={.spec.replicas}"}
	for i := range 2 {
		scale()
		must(s.T, rig.Until(s.Context(), 30*time.Second, "the replicas are taken back", func(context.Context) (bool, error) {
			return seen(heals() > i, fmt.Sprintf("%d heals", heals()))
		}))
	}
	prints(s.T, s.rig, "hub", "3", replicas...)
	s.patch("my-app", `{"spec": {"ignoreDifferences": [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]}}`)
	app, err := get(s.Context(), s.rig, "my-app")
	must(s.T, err)
	good(s.T, s.rig, "my-app", app.Status.Sync.Revision)
	before := heals()
	scale()
	prints(s.T, s.rig, "hub", "5", "get", "deployment", "my-app", "-n", "production", "-o", "jsonpath={.status.availableReplicas}")
	s.patch("my-app", `{"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}`)
	s.until("my-app", "a comparison after the scaling", func(app *v1alpha1.Application) bool {
		return app.Annotations["argocd.argoproj.io/refresh"] == "" && app.Status.Sync.Status == v1alpha1.SyncStatusSynced && app.Status.Health.Status == v1alpha1.HealthHealthy
	})
	if n := heals() - before; n != 0 {
		s.Errorf("the Deployment was written %d times after the rule", n)
	}
	prints(s.T, s.rig, "hub", "5", replicas...)
}

// unsynced plays a store that does not answer: the wave of the Deployment
// waits instead of starting pods without their Secret, and the annotation of
// the article frees it.
func (s *stack) unsynced() {
	s.providers.reach(false)
	v := release{name: "my-late-app", namespace: "production-late", version: "v2.5.0", secret: "external", migration: "ready"}
	id := s.commit(v)
	s.create(v)
	s.until("my-late-app", "an operation that waits for the secret", func(app *v1alpha1.Application) bool {
		o := app.Status.OperationState
		return o != nil && o.Message == "waiting for healthy state of external-secrets.io/ExternalSecret/db-credentials"
	})
	s.until("my-late-app", "the reason at the resource", func(app *v1alpha1.Application) bool {
		return slices.ContainsFunc(app.Status.Resources, func(r v1alpha1.ResourceStatus) bool {
			return r.Kind == "ExternalSecret" && r.Health != nil && r.Health.Status == v1alpha1.HealthProgressing && strings.Contains(r.Health.Message, "could not get secret data")
		})
	})
	if got := s.story("production-late", time.Time{}); slices.Contains(got, "patch deployments/my-app") {
		s.Errorf("the Deployment was written before its Secret: %v", got)
	}
	s.providers.reach(true)
	out, err := kubectl(s.T, s.rig, "hub", "annotate", "externalsecret", "db-credentials", "-n", "production-late", fmt.Sprintf("force-sync=%d", time.Now().Unix()), "--overwrite")
	if err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	good(s.T, s.rig, "my-late-app", id)
	got := s.story("production-late", time.Time{})
	if a, b := slices.Index(got, "well externalsecrets/db-credentials"), slices.Index(got, "patch deployments/my-app"); a < 0 || b < a {
		s.Errorf("the Deployment came before its Secret: %v", got)
	}
}
