package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

const frozenProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: frozen}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
  syncWindows: [{kind: deny, schedule: "* * * * *", duration: 1h, applications: ["frozen*"], description: change freeze}]
`

// wavesSet has two Applications in each of three steps, one in none.
const wavesSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: %[1]s%[4]s}
spec:
  generators:
  - list:
      elements:
      - {name: a1, wave: a}
      - {name: a2, wave: a}
      - {name: b1, wave: b}
      - {name: b2, wave: b}
      - {name: c1, wave: c}
      - {name: c2, wave: c}
      - {name: x1, wave: x}
  strategy:
    type: RollingSync
    deletionOrder: %[5]s
    rollingSync:
      steps:
      - {matchExpressions: [{key: wave, operator: In, values: [a]}]}
      - {matchExpressions: [{key: wave, operator: In, values: [b]}], maxUpdate: 1}
      - {matchExpressions: [{key: wave, operator: In, values: [c]}]}
  template:
    metadata: {name: '%[1]s-{{name}}', finalizers: %[3]s}
    spec:
      project: default
      source: {repoURL: %[2]q, targetRevision: HEAD, path: apps/side}
      destination: {name: one, namespace: '%[1]s-{{name}}'}
      syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`

const holdFinalizer = "hold.example.com/test"

type gates struct {
	*rig.Rig
	t *testing.T
}

// TestGates plays, on one hub, what holds syncs and deletions back.
func TestGates(t *testing.T) {
	r := start(t, "one:env=prod")
	_, err := r.Repo.Commit("side", gitserver.Files{"apps/side/cm.yaml": fmt.Sprintf(configMap, "1")})
	must(t, err)
	must(t, r.Launch())
	for _, part := range []struct {
		name string
		run  func(gates)
	}{
		{"SyncWindow", gates.syncWindow}, {"B16LabelsOfSecrets", gates.labelsOfSecrets}, {"M36MergedClusters", gates.mergedClusters}, {"DeletionGuard", gates.deletionGuard}, {"L1DeletionOrder", gates.deletionOrder},
		{"L9KeptByPolicy", gates.keptByPolicy}, {"HolderGone", gates.holderGone},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(gates{r, t}) })
	}
}

func (g gates) until(what string, ok func(ctx context.Context) (bool, error)) {
	g.t.Helper()
	must(g.t, rig.Until(g.t.Context(), 60*time.Second, what, ok))
}

func (g gates) patch(o client.Object, name, patch string) {
	g.t.Helper()
	o.SetName(name)
	o.SetNamespace(rig.Namespace)
	must(g.t, g.Hub.Patch(g.t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func (g gates) set(name string) *v1alpha1.ApplicationSet {
	g.t.Helper()
	var set v1alpha1.ApplicationSet
	must(g.t, g.Hub.Get(g.t.Context(), types.NamespacedName{Namespace: rig.Namespace, Name: name}, &set))
	return &set
}

// apps lists the Applications of a set: the names, those that are going in
// brackets.
func (g gates) apps(ctx context.Context, prefix string) (string, error) {
	var list v1alpha1.ApplicationList
	if err := g.Hub.List(ctx, &list, client.InNamespace(rig.Namespace)); err != nil {
		return "", err
	}
	var out []string
	for _, a := range list.Items {
		if rest, ok := strings.CutPrefix(a.Name, prefix+"-"); ok && a.DeletionTimestamp != nil {
			out = append(out, "("+rest+")")
		} else if ok {
			out = append(out, rest)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(strings.Trim(a, "()"), strings.Trim(b, "()")) })
	return strings.Join(out, " "), nil
}

func (g gates) expectApps(prefix, want string) {
	g.t.Helper()
	g.until(prefix+": "+want, func(ctx context.Context) (bool, error) {
		got, err := g.apps(ctx, prefix)
		if err == nil && got != want {
			err = fmt.Errorf("there are %s", got)
		}
		return err == nil, err
	})
}

// seen is the answer of an expectation: what is there, when it does not hold.
func seen(ok bool, what string) (bool, error) {
	if ok {
		return true, nil
	}
	return false, fmt.Errorf("there is %q", what)
}

func conditionOf(conditions []v1alpha1.ApplicationSetCondition, kind string) string {
	for _, c := range conditions {
		if c.Type == kind && c.Status == "True" {
			return c.Reason + ": " + c.Message
		}
	}
	return ""
}

// deletionGuard: a large drop waits for the very number; a failing generator
// deletes nothing.
func (g gates) deletionGuard() {
	must(g.t, g.Apply(g.t.Context(), fmt.Sprintf(wavesSet, "guard", g.Git.URL("gitops-fleet"), "[]", "", "AllAtOnce"), &v1alpha1.ApplicationSet{}))
	const all = "a1 a2 b1 b2 c1 c2 x1"
	g.expectApps("guard", all)
	g.patch(&v1alpha1.ApplicationSet{}, "guard", `{"spec": {"generators": [{"list": {"elements": [{"name": "a1", "wave": "a"}, {"name": "new", "wave": "a"}]}}]}}`)
	g.until("the drop is held back", func(context.Context) (bool, error) {
		message := conditionOf(g.set("guard").Status.Conditions, v1alpha1.AppSetDeletionGuarded)
		return seen(strings.HasPrefix(message, "DropExceedsLimit: 6 of ") && strings.Contains(message, "guard-a2, guard-b1"), message)
	})
	g.expectApps("guard", "a1 a2 b1 b2 c1 c2 new x1")
	confirm := func(word string) {
		g.patch(&v1alpha1.ApplicationSet{}, "guard", fmt.Sprintf(`{"metadata": {"annotations": {%q: %q}}}`, v1alpha1.AnnotationConfirmDeletion, word))
		g.until("the confirmation is used up", func(context.Context) (bool, error) {
			_, still := g.set("guard").Annotations[v1alpha1.AnnotationConfirmDeletion]
			return !still, nil
		})
	}
	confirm("2")
	g.expectApps("guard", "a1 a2 b1 b2 c1 c2 new x1")
	g.patch(&v1alpha1.ApplicationSet{}, "guard", `{"spec": {"generators": [{"git": {"repoURL": "http://127.0.0.1:1/none.git", "revision": "HEAD", "directories": [{"path": "*"}]}}]}}`)
	g.until("the failure is named", func(context.Context) (bool, error) {
		conditions := g.set("guard").Status.Conditions
		failure := conditionOf(conditions, v1alpha1.AppSetErrorOccurred)
		return seen(strings.Contains(failure, "127.0.0.1:1") && strings.Contains(failure, "nothing is deleted; the last complete answer, of ") &&
			conditionOf(conditions, v1alpha1.AppSetDeletionGuarded) != "", failure)
	})
	g.expectApps("guard", "a1 a2 b1 b2 c1 c2 new x1")
	g.patch(&v1alpha1.ApplicationSet{}, "guard", `{"spec": {"generators": [{"list": {"elements": [{"name": "a1", "wave": "a"}, {"name": "new", "wave": "a"}]}}]}}`)
	g.until("the generator works again", func(context.Context) (bool, error) {
		return conditionOf(g.set("guard").Status.Conditions, v1alpha1.AppSetErrorOccurred) == "", nil
	})
	confirm("6")
	g.expectApps("guard", "a1 new")
	g.until("the condition is gone", func(context.Context) (bool, error) {
		return conditionOf(g.set("guard").Status.Conditions, v1alpha1.AppSetDeletionGuarded) == "", nil
	})
}

// deletionOrder: the last step goes first, as many at a time as the step
// allows; what matches no step goes last; a restart changes nothing.
func (g gates) deletionOrder() {
	finalizers := "[" + holdFinalizer + "]"
	must(g.t, g.Apply(g.t.Context(), fmt.Sprintf(wavesSet, "order", g.Git.URL("gitops-fleet"), finalizers, "", "reverse"), &v1alpha1.ApplicationSet{}))
	g.expectApps("order", "a1 a2 b1 b2 c1 c2 x1")
	g.until("the finalizer is there", func(context.Context) (bool, error) {
		return slices.Contains(g.set("order").Finalizers, v1alpha1.FinalizerResources), nil
	})
	must(g.t, g.Hub.Delete(g.t.Context(), g.set("order")))
	gone := func(name string) {
		g.patch(&v1alpha1.Application{}, "order-"+name, `{"metadata": {"finalizers": null}}`)
	}
	g.expectApps("order", "a1 a2 b1 b2 (c1) (c2) x1")
	gone("c2")
	g.expectApps("order", "a1 a2 b1 b2 (c1) x1")
	g.Kill(9)
	must(g.t, g.Launch())
	gone("c1")
	g.expectApps("order", "a1 a2 (b1) b2 x1")
	gone("b1")
	g.expectApps("order", "a1 a2 (b2) x1")
	gone("b2")
	g.expectApps("order", "(a1) (a2) x1")
	gone("a1")
	gone("a2")
	g.expectApps("order", "(x1)")
	gone("x1")
	g.absent("order")
}

func (g gates) held(name string, want bool) {
	g.t.Helper()
	g.until(fmt.Sprintf("%s is held: %v", name, want), func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, name)
		if err != nil {
			return false, err
		}
		a := app.Spec.SyncPolicy.Automated
		_, named := app.Annotations[v1alpha1.AnnotationRolloutHeldBy]
		return named == want && (a.Enabled != nil && !*a.Enabled) == want, nil
	})
}

// keptByPolicy: Applications that outlive their set get their automated sync
// back and lose their owner.
func (g gates) keptByPolicy() {
	must(g.t, g.Apply(g.t.Context(), fmt.Sprintf(wavesSet, "kept", g.Git.URL("gitops-fleet"), "[]", ", finalizers: ["+v1alpha1.FinalizerResources+"]", "Reverse"), &v1alpha1.ApplicationSet{}))
	g.held("kept-a1", true)
	g.held("kept-x1", false)
	g.patch(&v1alpha1.ApplicationSet{}, "kept", `{"spec": {"syncPolicy": {"applicationsSync": "create-update"}}}`)
	must(g.t, g.Hub.Delete(g.t.Context(), g.set("kept")))
	g.held("kept-a1", false)
	g.until("no owner is left", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "kept-a1")
		return err == nil && len(app.OwnerReferences) == 0, err
	})
	g.expectApps("kept", "a1 a2 b1 b2 c1 c2 x1")
}

// holderGone: without a finalizer nobody can let go in time; then the
// Applications say so.
func (g gates) holderGone() {
	must(g.t, g.Apply(g.t.Context(), fmt.Sprintf(wavesSet, "left", g.Git.URL("gitops-fleet"), "[]", "", "AllAtOnce"), &v1alpha1.ApplicationSet{}))
	g.held("left-a1", true)
	g.expectApps("left", "a1 a2 b1 b2 c1 c2 x1")
	g.Kill(9) // nobody is there when it happens
	for _, name := range []string{"a1", "a2", "b1", "b2", "c1", "c2", "x1"} {
		g.patch(&v1alpha1.Application{}, "left-"+name, `{"metadata": {"ownerReferences": null}}`)
	}
	must(g.t, g.Hub.Delete(g.t.Context(), g.set("left")))
	g.absent("left")
	must(g.t, g.Launch())
	g.until("the Application says that its holder is gone", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "left-a1")
		if err != nil {
			return false, err
		}
		return seen(slices.ContainsFunc(app.Status.Conditions, func(c v1alpha1.ApplicationCondition) bool {
			return c.Type == v1alpha1.ConditionRolloutHolderGone && strings.Contains(c.Message, "ApplicationSet left")
		}), fmt.Sprint(app.Status.Conditions))
	})
}

// mergedClusters (M36, M38): a changed label of a Secret is heard below a
// nested merge, too; a set in another namespace generates nothing.
func (g gates) mergedClusters() {
	manifest := fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: merged, namespace: %%s}
spec:
  generators:
  - matrix:
      generators:
      - list: {elements: [{service: web}]}
      - merge:
          mergeKeys: [name]
          generators:
          - clusters: {selector: {matchLabels: {env: prod}}}
          - list: {elements: [{name: one, extra: x}]}
  template:
    metadata: {name: 'merged-{{name}}', labels: {tier: '{{metadata.labels.tier}}', extra: '{{extra}}'}}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: HEAD, path: apps/side}
      destination: {name: '{{name}}', namespace: merged}
`, g.Git.URL("gitops-fleet"))
	tier := func(value string) {
		g.patch(&corev1.Secret{}, "one", fmt.Sprintf(`{"metadata": {"labels": {"tier": %q}}}`, value))
		g.until("the label is "+value, func(ctx context.Context) (bool, error) {
			app, err := get(ctx, g.Rig, "merged-one")
			if err != nil {
				return false, err
			}
			return seen(app.Labels["tier"] == value && app.Labels["extra"] == "x", fmt.Sprint(app.Labels))
		})
	}
	var foreign v1alpha1.ApplicationSet
	must(g.t, g.Apply(g.t.Context(), fmt.Sprintf(manifest, metav1.NamespaceDefault), &foreign))
	g.patch(&corev1.Secret{}, "one", `{"metadata": {"labels": {"tier": "bronze"}}}`)
	must(g.t, g.Apply(g.t.Context(), fmt.Sprintf(manifest, rig.Namespace), &v1alpha1.ApplicationSet{}))
	tier("silver")
	before := g.set("merged").Generation
	tier("gold")
	if after := g.set("merged").Generation; after != before {
		g.t.Errorf("the set was written: generation %d, was %d", after, before)
	}
	var strangers v1alpha1.ApplicationList
	must(g.t, g.Hub.List(g.t.Context(), &strangers, client.InNamespace(metav1.NamespaceDefault)))
	must(g.t, g.Hub.Get(g.t.Context(), client.ObjectKeyFromObject(&foreign), &foreign))
	if len(strangers.Items) > 0 || len(foreign.Status.Conditions) > 0 {
		g.t.Errorf("a set in namespace %s generated %d Applications, conditions %v", metav1.NamespaceDefault, len(strangers.Items), foreign.Status.Conditions)
	}
}

// absent waits until a set is gone.
func (g gates) absent(name string) {
	g.t.Helper()
	must(g.t, rig.Until(g.t.Context(), 2*time.Minute, "set "+name+" is gone", func(ctx context.Context) (bool, error) {
		err := g.Hub.Get(ctx, types.NamespacedName{Namespace: rig.Namespace, Name: name}, &v1alpha1.ApplicationSet{})
		return client.IgnoreNotFound(err) == nil && err != nil, client.IgnoreNotFound(err)
	}))
}

// brokenSecret: a registration that cannot be used is no reason to delete what
// runs on its cluster.
func (g gates) brokenSecret() {
	var secret corev1.Secret
	must(g.t, g.Hub.Get(g.t.Context(), types.NamespacedName{Namespace: rig.Namespace, Name: "one"}, &secret))
	server := base64.StdEncoding.EncodeToString(secret.Data["server"])
	g.patch(&corev1.Secret{}, "one", `{"data": {"server": ""}}`)
	g.until("the broken Secret is named", func(context.Context) (bool, error) {
		message := conditionOf(g.set("secrets").Status.Conditions, v1alpha1.AppSetErrorOccurred)
		return seen(strings.Contains(message, "Secret one registers a cluster that cannot be used"), message)
	})
	g.expectApps("secrets", "one")
	g.patch(&corev1.Secret{}, "one", fmt.Sprintf(`{"data": {"server": %q}}`, server))
	g.until("all is well again", func(context.Context) (bool, error) {
		message := conditionOf(g.set("secrets").Status.Conditions, v1alpha1.AppSetErrorOccurred)
		return seen(message == "", message)
	})
}

// labelsOfSecrets (B16, F7, L7): a changed label of a Secret moves the
// Application at once; a cluster that is no longer chosen takes it away at
// once, whatever the deletion order.
func (g gates) labelsOfSecrets() {
	manifest := fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: secrets}
spec:
  generators: [{clusters: {selector: {matchLabels: {env: prod}}}}]
  strategy:
    type: RollingSync
    deletionOrder: Reverse
    rollingSync:
      steps:
      - {matchExpressions: [{key: wave, operator: In, values: [canary]}]}
      - {matchExpressions: [{key: wave, operator: DoesNotExist}]}
  template:
    metadata: {name: 'secrets-{{name}}'}
    spec:
      project: default
      source: {repoURL: %q, targetRevision: HEAD, path: apps/side}
      destination: {name: '{{name}}', namespace: secrets}
      syncPolicy: {automated: {}, syncOptions: [CreateNamespace=true]}
`, g.Git.URL("gitops-fleet"))
	must(g.t, g.Apply(g.t.Context(), manifest, &v1alpha1.ApplicationSet{}))
	step := func(want string) {
		g.until("secrets-one is in step "+want, func(context.Context) (bool, error) {
			for _, s := range g.set("secrets").Status.ApplicationStatus {
				if s.Application == "secrets-one" {
					return seen(s.Step == want, s.Step)
				}
			}
			return seen(false, "no record")
		})
	}
	step("2")
	before := g.set("secrets").Generation
	g.patch(&corev1.Secret{}, "one", `{"metadata": {"labels": {"wave": "canary", "bad": "also"}}}`)
	step("1")
	g.until("the labels are there", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, g.Rig, "secrets-one")
		return err == nil && app.Labels["wave"] == "canary" && app.Labels[v1alpha1.LabelApplicationSetName] == "secrets", err
	})
	if after := g.set("secrets").Generation; after != before {
		g.t.Errorf("the set was written: generation %d, was %d", after, before)
	}
	must(g.t, g.Hub.Delete(g.t.Context(), &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Name: "secrets-one", Namespace: rig.Namespace}}))
	g.expectApps("secrets", "one") // F10: it comes back
	g.brokenSecret()
	g.patch(&corev1.Secret{}, "one", `{"metadata": {"labels": {"env": null}}}`)
	g.expectApps("secrets", "")
	g.patch(&corev1.Secret{}, "one", `{"metadata": {"labels": {"env": "prod", "wave": null}}}`)
}
