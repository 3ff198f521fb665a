package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// recovery plays the loss of a hub. Two clusters are managed, a third one is
// there to become the next hub.
type recovery struct {
	*testing.T
	r    *rig.Rig
	dir  string
	seen map[string]int
}

// managed are the Applications of the hub.
var managed = []string{"one-payment-service", "shop", "two-payment-service"}

// mark forgets what was written to the clusters so far.
func (c *recovery) mark() {
	c.Helper()
	c.seen = map[string]int{}
	for _, name := range []string{"one", "two"} {
		c.seen[name] = lines(c.T, c.r, name)
	}
}

// untouched says that nothing was written to the clusters by Sluice since mark,
// though it looked at those that are named.
func (c *recovery) untouched(when string, looked ...string) {
	c.Helper()
	for name, before := range c.seen {
		cluster, err := c.r.Fleet.Cluster(name)
		must(c.T, err)
		all, err := cluster.AuditLines()
		must(c.T, err)
		read := 0
		for _, a := range all[before:] {
			mine := ours(a) || strings.HasPrefix(a.UserAgent, "sluice")
			review := strings.HasPrefix(a.ObjectRef.Resource, "selfsubject") // a question, though it is a POST
			if mine && a.Write() && !review {
				c.Errorf("%s: on %s Sluice wrote: %s", when, name, event(a))
			}
			if mine {
				read++
			}
		}
		if read == 0 && slices.Contains(looked, name) {
			c.Errorf("%s: Sluice never looked at %s", when, name)
		}
	}
}

// apps reads the Applications, by name.
func (c *recovery) apps(ctx context.Context) (map[string]*v1alpha1.Application, error) {
	var list v1alpha1.ApplicationList
	if err := c.r.Hub.List(ctx, &list, client.InNamespace(rig.Namespace)); err != nil {
		return nil, err
	}
	out := map[string]*v1alpha1.Application{}
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out, nil
}

// compared asks for a comparison of every Application, and waits until each was
// compared and is what the test expects. A status that stays the same is not
// written: that the request is gone shows that somebody manages the Application.
func (c *recovery) compared(ok func(a *v1alpha1.Application) error) map[string]*v1alpha1.Application {
	c.Helper()
	for name, a := range mustApps(c) {
		if slices.Contains(managed, name) {
			must(c.T, c.r.Hub.Patch(c.Context(), a, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`))))
		}
	}
	var last map[string]*v1alpha1.Application
	must(c.T, rig.Until(c.Context(), 90*time.Second, "every Application is managed", func(ctx context.Context) (bool, error) {
		all, err := c.apps(ctx)
		if err != nil {
			return false, err
		}
		last = all
		var problems []error
		for _, name := range managed {
			a := all[name]
			switch {
			case a == nil:
				problems = append(problems, fmt.Errorf("%s does not exist", name))
			case a.Annotations[v1alpha1.AnnotationRefresh] != "":
				problems = append(problems, fmt.Errorf("%s was not compared: %+v", name, a.Status.Conditions))
			case name != "shop" && len(a.OwnerReferences) != 1:
				problems = append(problems, fmt.Errorf("%s belongs to nobody", name))
			default:
				problems = append(problems, ok(a))
			}
		}
		return errors.Join(problems...) == nil, errors.Join(problems...)
	}))
	return last
}

func well(revision string) func(*v1alpha1.Application) error {
	return func(a *v1alpha1.Application) error {
		idle := a.Operation == nil && a.Status.OperationState != nil && a.Status.OperationState.Phase == v1alpha1.OperationSucceeded
		if s := a.Status; s.Sync.Status != "Synced" || s.Health.Status != "Healthy" || s.Sync.Revision != revision || !idle {
			return fmt.Errorf("%s is %s, %s at %.7s", a.Name, s.Sync.Status, s.Health.Status, s.Sync.Revision)
		}
		return nil
	}
}

// rollout reads where the rollout stands.
func (c *recovery) rollout() *v1alpha1.RolloutStatus {
	c.Helper()
	_, set, err := c.r.Rows(c.Context())
	must(c.T, err)
	if set.Status.Rollout == nil {
		c.Fatal("the set has no rollout")
	}
	return set.Status.Rollout
}

// release commits a version of both services and waits until it is everywhere.
func (c *recovery) release(tag string) string {
	c.Helper()
	revision, err := c.r.Repo.Commit(tag, gitserver.Files{
		"apps/payment-service/manifests.yaml": rig.Workload(rig.PaymentName, tag),
		"apps/shop/d-config.yaml":             strings.Replace(shopFiles["apps/shop/d-config.yaml"], "production", tag, 1),
	})
	must(c.T, err)
	c.compared(well(revision))
	must(c.T, rig.Until(c.Context(), 30*time.Second, "the rollout is complete", func(ctx context.Context) (bool, error) {
		_, set, err := c.r.Rows(ctx)
		return err == nil && set.Status.Rollout != nil && set.Status.Rollout.CurrentStep == 0, err
	}))
	return revision
}

// admin runs a command of the group admin.
func (c *recovery) admin(args ...string) string {
	c.Helper()
	out, err := c.r.Sluice(c.Context(), append([]string{"admin"}, args...)...)
	if err != nil {
		c.Fatalf("sluice admin %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func histories(all map[string]*v1alpha1.Application) map[string][]v1alpha1.RevisionHistory {
	out := map[string][]v1alpha1.RevisionHistory{}
	for name, a := range all {
		out[name] = a.Status.History
	}
	return out
}

// TestDisasterRecovery loses the hub and makes it anew from a backup: everything
// is managed again, and nothing was written to any cluster.
func TestDisasterRecovery(t *testing.T) {
	c := &recovery{T: t, r: start(t, "one:env=production;region=us-east-1-canary,two:env=production;region=eu-west-1,spare"), dir: t.TempDir()}
	r := c.r
	// The spare cluster is none of those that are managed.
	must(t, r.Hub.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "spare"}}))
	for _, s := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: "repo", Labels: map[string]string{v1alpha1.LabelSecretType: "repository"}}, StringData: map[string]string{"url": r.Git.URL("gitops-fleet")}},
		{ObjectMeta: metav1.ObjectMeta{Name: "sluice-sessions"}, StringData: map[string]string{"revoked": "{}"}},
	} {
		s.Namespace = rig.Namespace
		must(t, r.Hub.Create(t.Context(), s))
	}
	must(t, r.Hub.Patch(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "argocd-cm"}},
		client.RawPatch(types.MergePatchType, []byte(`{"data":{"url":"https://cd.example.com"}}`))))
	_, err := r.Repo.Commit("shop", shopFiles)
	must(t, err)
	_, err = r.CommitPayment("v1")
	must(t, err)
	must(t, r.Launch())
	must(t, r.ApplyPayment(t.Context()))
	must(t, r.Apply(t.Context(), fmt.Sprintf(shopApp, r.Git.URL("gitops-fleet")), &v1alpha1.Application{}))
	c.release("v2")
	c.release("v3")
	t.Run("on a fresh hub", func(t *testing.T) { (&recovery{t, r, c.dir, nil}).fresh() })
	t.Run("halted, wiped, and restored under a Sluice that runs", func(t *testing.T) { (&recovery{t, r, c.dir, nil}).halted() })
	t.Run("from the export of Argo CD", func(t *testing.T) { (&recovery{t, r, c.dir, nil}).foreign() })
}

// fresh makes another cluster the hub, with nothing but the backup.
func (c *recovery) fresh() {
	file := filepath.Join(c.dir, "backup.yaml")
	before, err := c.apps(c.Context())
	must(c.T, err)
	was := c.rollout()
	c.admin("export", "-o", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		c.Errorf("the backup has mode %v (%v), want 0600", info.Mode().Perm(), err)
	}
	c.r.Kill(syscall.SIGKILL)
	c.mark()
	must(c.T, c.r.Settle(c.Context(), "spare"))

	dry := c.admin("import", file, "--dry-run")
	if !strings.Contains(dry, "argoproj.io/Application shop in namespace argocd created (dry run)") {
		c.Errorf("the dry run says:\n%s", dry)
	}
	if all, err := c.apps(c.Context()); err != nil || len(all) != 0 {
		c.Errorf("after a dry run there are %d Applications (%v)", len(all), err)
	}
	out := c.admin("import", file)
	for _, want := range []string{"/Secret one ", "/Secret repo ", "/Secret sluice-sessions ", "/ConfigMap argocd-cm ", "argoproj.io/AppProject production ", "argoproj.io/Application shop ", "argoproj.io/ApplicationSet payment-service "} {
		if !strings.Contains(out, want) {
			c.Errorf("the import does not name %s:\n%s", want, out)
		}
	}
	if again := c.admin("import", file); strings.Contains(again, "created") || strings.Contains(again, "updated") {
		c.Errorf("the second import writes:\n%s", again)
	}
	must(c.T, c.r.LaunchIn("data-of-the-new-hub"))
	after := c.compared(func(a *v1alpha1.Application) error { return well(before[a.Name].Status.Sync.Revision)(a) })
	if diff := cmp.Diff(histories(before), histories(after)); diff != "" {
		c.Errorf("the history is another one: %s", diff)
	}
	for name, a := range after {
		if diff := cmp.Diff(before[name].Status.OperationState, a.Status.OperationState); diff != "" {
			c.Errorf("the last operation of %s is another one: %s", name, diff)
		}
	}
	if now := c.rollout(); now.ID != was.ID || now.Phase != was.Phase || len(now.History) != len(was.History) {
		c.Errorf("rollout %d is %s with a history of %d, was %d, %s, %d", now.ID, now.Phase, len(now.History), was.ID, was.Phase, len(was.History))
	}
	c.untouched("after the restore", "one", "two")

	revision := c.release("v4") // it goes on, where it stood
	if h := histories(mustApps(c))["shop"]; len(h) != len(before["shop"].Status.History)+1 || h[len(h)-1].Revision != revision {
		c.Errorf("the history does not go on: %+v", h)
	}
	if now := c.rollout(); now.ID != was.ID+1 {
		c.Errorf("the next rollout is %d, want %d", now.ID, was.ID+1)
	}
	one, err := c.r.Fleet.Cluster("one")
	must(c.T, err)
	two, err := c.r.Fleet.Cluster("two")
	must(c.T, err)
	_, canary, err := rig.Delivered(one, rig.PaymentName, "payment-service:v4")
	must(c.T, err)
	rest, _, err := rig.Delivered(two, rig.PaymentName, "payment-service:v4")
	must(c.T, err)
	if rest.Before(canary) {
		c.Errorf("the second step got v4 at %s, before the canary was well at %s", rest, canary)
	}
}

func mustApps(c *recovery) map[string]*v1alpha1.Application {
	c.Helper()
	all, err := c.apps(c.Context())
	must(c.T, err)
	return all
}

// halted wipes the hub while a rollout stands still for a version that is bad, and
// restores it under a Sluice that runs: the version must stay on the canary.
func (c *recovery) halted() {
	bad, err := c.r.CommitPayment("crash-v5")
	must(c.T, err)
	stands := func(when string) {
		c.Helper()
		must(c.T, rig.Until(c.Context(), 90*time.Second, "a rollout that stands still "+when, func(ctx context.Context) (bool, error) {
			_, set, err := c.r.Rows(ctx)
			if err != nil || set.Status.Rollout == nil || set.Status.Rollout.Halt == nil {
				return false, err
			}
			return set.Status.Rollout.Target != nil && set.Status.Rollout.Target.Sources[0].Revision == bad, nil
		}))
	}
	stands("before")
	was := c.rollout()
	file, settings := filepath.Join(c.dir, "halted.yaml"), filepath.Join(c.dir, "settings.yaml")
	c.admin("export", "-o", file)
	must(c.T, os.WriteFile(settings, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\n"), 0o600))
	c.mark()
	out, err := c.r.Sluice(c.Context(), "admin", "import", settings, "--prune")
	if err == nil || !strings.Contains(out, "is held by") || len(mustApps(c)) != len(managed) {
		c.Errorf("under a controller that runs, --prune ends with %v and leaves %d Applications: %s", err, len(mustApps(c)), out)
	}
	c.r.Kill(syscall.SIGTERM)
	out = c.admin("import", settings, "--prune")
	for _, want := range []string{"argoproj.io/ApplicationSet payment-service in namespace argocd pruned", "argoproj.io/Application shop in namespace argocd pruned", "/Secret one in namespace argocd pruned"} {
		if !strings.Contains(out, want) {
			c.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if all := mustApps(c); len(all) != 0 {
		c.Errorf("%d Applications survived the wipe", len(all))
	}
	must(c.T, c.r.LaunchIn("data-of-the-new-hub"))
	must(c.T, rig.Until(c.Context(), time.Minute, "Sluice runs", func(ctx context.Context) (bool, error) {
		var l coordinationv1.Lease
		err := c.r.Hub.Get(ctx, client.ObjectKey{Namespace: rig.Namespace, Name: "58ac56fa.applicationsets.argoproj.io"}, &l)
		return err == nil && l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "", err
	}))
	c.admin("import", file, "--override-on-conflict")
	c.compared(func(a *v1alpha1.Application) error {
		want := map[string]v1alpha1.HealthStatusCode{"shop": "Healthy", "one-payment-service": "Degraded", "two-payment-service": "Healthy"}[a.Name]
		if a.Status.Health.Status != want {
			return fmt.Errorf("%s is %s", a.Name, a.Status.Health.Status)
		}
		return nil
	})
	stands("after the restore")
	if now := c.rollout(); now.ID != was.ID {
		c.Errorf("rollout %d stands still, was %d", now.ID, was.ID)
	}
	c.untouched("wiped and restored", "one", "two")
	if got, err := c.r.Received("crash-v5"); err != nil || !slices.Equal(got, []string{"one"}) {
		c.Errorf("the bad version was written to %v (%v), want the canary only", got, err)
	}
	c.release("v6")
}
