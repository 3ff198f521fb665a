// Package syncopts shows every sync option, hook type, delete policy and order
// on a real cluster, and reads in that cluster's audit log what was written.
package syncopts

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

// suite is one rig that all cases share; each has its own Application,
// namespace and folder, all of one name.
type suite struct {
	rig     *rig.Rig
	cluster fleet.Cluster
	target  client.Client
	git     sync.Mutex
}

func start(t *testing.T) *suite {
	t.Helper()
	bin := os.Getenv("SLUICE_BIN")
	if bin == "" {
		t.Fatal("SLUICE_BIN is not set: run these tests with make test, which builds the binaries first")
	}
	bin, err := filepath.Abs(bin)
	must(t, err)
	r, err := rig.Start(t.Context(), rig.Options{Bin: bin, Dir: t.TempDir(), Clusters: "one:env=test"})
	must(t, err)
	t.Cleanup(func() {
		if raw, err := os.ReadFile(r.Log()); err == nil && t.Failed() {
			t.Logf("end of the log:\n%s", raw[max(0, len(raw)-6000):])
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	s := &suite{rig: r}
	s.cluster, err = r.Fleet.Cluster("one")
	must(t, err)
	cfg, err := s.cluster.Config()
	must(t, err)
	s.target, err = client.New(cfg, client.Options{})
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run is one case.
type run struct {
	*suite
	*testing.T
	name string
	// seen is how many lines of the audit log have been read.
	seen int
	// revision of the last commit.
	revision string
}

// commit puts the objects of a case into Git.
func (r *run) commit(objects string) {
	r.Helper()
	r.git.Lock()
	defer r.git.Unlock()
	id, err := r.rig.Repo.Commit(r.name, gitserver.Files{"apps/" + r.name + "/all.yaml": objects})
	must(r.T, err)
	r.revision = id
}

// create makes the Application with sync options and further fields of spec.
func (r *run) create(options string, spec ...string) {
	r.Helper()
	text := fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %[1]s}
spec:
  project: default
  source: {repoURL: %[2]q, targetRevision: main, path: apps/%[1]s}
  destination: {name: one, namespace: %[1]s}
  syncPolicy: {syncOptions: [%[3]s]}
`, r.name, r.rig.Git.URL("gitops-fleet"), options)
	for _, s := range spec {
		text += "  " + s + "\n"
	}
	must(r.T, r.rig.Apply(r.Context(), text, &v1alpha1.Application{}))
}

func (r *run) app() *v1alpha1.Application {
	r.Helper()
	var app v1alpha1.Application
	must(r.T, r.rig.Hub.Get(r.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: r.name}, &app))
	return &app
}

// patch merges YAML into the Application.
func (r *run) patch(text string) {
	r.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	must(r.T, err)
	must(r.T, r.rig.Hub.Patch(r.Context(), r.app(), client.RawPatch(types.MergePatchType, raw)))
}

// sync requests an operation, given as YAML, and waits for its end.
func (r *run) sync(operation string) *v1alpha1.OperationState {
	r.Helper()
	r.begin(operation)
	return r.end()
}

func (r *run) begin(operation string) {
	r.Helper()
	r.seen = len(r.lines())
	r.patch("metadata: {annotations: {argocd.argoproj.io/refresh: normal}}\noperation: {sync: " + r.operation(operation) + "}")
}

// operation is a sync of the last commit, whatever was polled by now.
func (r *run) operation(fields string) string {
	if fields != "" {
		fields = ", " + fields
	}
	return fmt.Sprintf("{revision: %q%s}", r.revision, fields)
}

func (r *run) end() *v1alpha1.OperationState {
	r.Helper()
	var state *v1alpha1.OperationState
	r.until("the operation ends", func() error {
		app := r.app()
		state = app.Status.OperationState
		if app.Operation != nil || state == nil || !state.Phase.Completed() {
			return fmt.Errorf("operation %+v", state)
		}
		return nil
	})
	return state
}

func (r *run) until(what string, ok func() error) {
	r.Helper()
	must(r.T, rig.Until(r.Context(), 40*time.Second, what, func(context.Context) (bool, error) {
		err := ok()
		return err == nil, err
	}))
}

// succeeds runs a sync that has to succeed, and gives what it wrote.
func (r *run) succeeds(operation string) []string {
	r.Helper()
	if s := r.sync(operation); s.Phase != v1alpha1.OperationSucceeded {
		r.Fatalf("operation %s: %s", s.Phase, s.Message)
	}
	return r.writes()
}

// fails runs a sync that has to fail with a message.
func (r *run) fails(operation, message string) {
	r.Helper()
	if s := r.sync(operation); s.Phase == v1alpha1.OperationSucceeded || !strings.Contains(s.Message, message) {
		r.Errorf("operation %s: %s; want a failure with %q", s.Phase, s.Message, message)
	}
}

func (r *run) lines() []fleet.Audit {
	r.Helper()
	lines, err := r.cluster.AuditLines()
	must(r.T, err)
	return lines
}

// mine says that a line is about this case: its namespace, what lies in it, or
// another object that carries its name. Names of cases may contain each other.
func (r *run) mine(a fleet.Audit) bool {
	if a.ObjectRef.Resource == "namespaces" {
		return a.ObjectRef.Name == r.name
	}
	return a.ObjectRef.Namespace == r.name || a.ObjectRef.Namespace == "" && strings.Contains(a.ObjectRef.Name, r.name)
}

// audit lists what sluice wrote for this case since the last sync began, in
// the order in which it arrived.
func (r *run) audit() []fleet.Audit {
	r.Helper()
	all := r.lines()
	lines := slices.DeleteFunc(slices.Clone(all[min(r.seen, len(all)):]), func(a fleet.Audit) bool {
		return !strings.HasPrefix(a.UserAgent, "argocd-application-controller") || !a.Write() || a.ObjectRef.Subresource != "" ||
			!r.mine(a)
	})
	slices.SortStableFunc(lines, func(a, b fleet.Audit) int { return a.Received.Compare(b.Received) })
	return lines
}

// writes words the audit lines: "patch configmaps/a".
func (r *run) writes() []string {
	r.Helper()
	var out []string
	for _, a := range r.audit() {
		out = append(out, fmt.Sprintf("%s %s/%s", a.Verb, a.ObjectRef.Resource, a.ObjectRef.Name))
	}
	return out
}

// wrote compares what was written, in order.
func (r *run) wrote(got []string, want ...string) {
	r.Helper()
	if !slices.Equal(got, want) {
		r.Errorf("written were\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// wroteBeside compares what was written; objects of one kind in a row are
// applied side by side and have no order among themselves.
func (r *run) wroteBeside(got []string, want ...string) {
	r.Helper()
	r.wrote(settled(got), settled(want)...)
}

// settled sorts the neighbours of one verb and kind.
func settled(lines []string) []string {
	out := slices.Clone(lines)
	kind := func(line string) string { return line[:strings.LastIndex(line, "/")+1] }
	for begin := 0; begin < len(out); {
		end := begin + 1
		for end < len(out) && kind(out[end]) == kind(out[begin]) {
			end++
		}
		slices.Sort(out[begin:end])
		begin = end
	}
	return out
}

// live reads an object of the case; nil when it is not there.
func (r *run) live(apiVersion, kind, name string) *unstructured.Unstructured {
	r.Helper()
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	err := r.target.Get(r.Context(), client.ObjectKey{Namespace: r.name, Name: name}, u)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(r.T, err)
	return u
}

// edit changes a live object as a person would.
func (r *run) edit(apiVersion, kind, name, patch string) {
	r.Helper()
	must(r.T, r.target.Patch(r.Context(), r.live(apiVersion, kind, name), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("kubectl-edit")))
}

// status waits for a sync status after a comparison of now.
func (r *run) status(want v1alpha1.SyncStatusCode) *v1alpha1.Application {
	r.Helper()
	r.patch("metadata: {annotations: {argocd.argoproj.io/refresh: normal}}")
	var app *v1alpha1.Application
	r.until("status "+string(want), func() error {
		app = r.app()
		if app.Annotations[v1alpha1.AnnotationRefresh] != "" || app.Status.Sync.Status != want {
			return fmt.Errorf("%s, %+v, %+v", app.Status.Sync.Status, app.Status.Resources, app.Status.Conditions)
		}
		return nil
	})
	return app
}

// text reads a field of an object as JSON.
func text(u *unstructured.Unstructured, path ...string) string {
	if u == nil {
		return "no object"
	}
	v, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// TestSyncOptions runs all cases side by side on one cluster.
func TestSyncOptions(t *testing.T) {
	s := start(t)
	must(t, s.rig.Launch())
	cases := map[string]func(*run){}
	for _, group := range []map[string]func(*run){writing, choosing, ordering, pruning, ending, holding, conflicting, comparing, bounds, rows, hookRows, waveRows} {
		for name, f := range group {
			cases[name] = f
		}
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(&run{suite: s, T: t, name: name})
		})
	}
}
