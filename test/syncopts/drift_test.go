package syncopts

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// sample is a kind of object: how it is written in Git, a change by hand, and
// the field that the change is found in.
type sample struct {
	name, manifest, edit, field string
}

// samples reads testdata/drift.txt.
func samples(t *testing.T) []sample {
	t.Helper()
	raw, err := os.ReadFile("testdata/drift.txt")
	must(t, err)
	var out []sample
	for _, block := range strings.Split(string(raw), "-- ")[1:] {
		head, manifest, _ := strings.Cut(block, "\n")
		parts := strings.Split(head, " | ")
		if len(parts) != 3 {
			t.Fatalf("sample %q: want name, change and field", head)
		}
		out = append(out, sample{parts[0], manifest, parts[1], parts[2]})
	}
	return out
}

// life is what an object went through before Sluice came.
type life int

const (
	fresh life = iota
	byKubectl
	byHelmClientSide
	byHelmServerSide
	byArgoClientSide
	byArgoServerSide
	lives
)

// piece is one object of one sample with one life.
type piece struct {
	sample
	life life
	text string
	obj  *unstructured.Unstructured
}

const driftName = "drift"

func pieces(t *testing.T) []*piece {
	t.Helper()
	var out []*piece
	for _, s := range samples(t) {
		for l := range lives {
			p := &piece{sample: s, life: l}
			p.text = strings.NewReplacer("NAME", fmt.Sprintf("%s-%d", s.name, l), "VARIANT", fmt.Sprint(int(l))).Replace(s.manifest)
			p.obj = parsed(t, p.text)
			out = append(out, p)
		}
	}
	return out
}

// parsed is an object as rendering gives it, in its namespace.
func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	must(t, err)
	u := &unstructured.Unstructured{}
	must(t, u.UnmarshalJSON(raw))
	if !strings.HasPrefix(u.GetName(), "drift-") && u.GetName() != driftName {
		u.SetNamespace(driftName)
	}
	return u
}

func (r *run) program(name string, args ...string) {
	r.Helper()
	if out, err := exec.CommandContext(r.Context(), name, args...).CombinedOutput(); err != nil {
		r.Fatalf("%s %v: %v: %s", filepath.Base(name), args, err, out)
	}
}

func (r *run) kubectl(args ...string) {
	r.Helper()
	dir := filepath.Dir(filepath.Dir(r.cluster.Kubeconfig))
	r.program(filepath.Join(os.Getenv("SLUICE_BIN"), "fleet"), slices.Concat([]string{"--dir", dir, "kubectl", "one", "--"}, args)...)
}

// past gives the objects their lives.
func (r *run) past(all []*piece) {
	r.Helper()
	dir := r.TempDir()
	texts := map[life][]string{}
	for _, p := range all {
		texts[p.life] = append(texts[p.life], p.text)
	}
	file := filepath.Join(dir, "all.yaml")
	must(r.T, os.WriteFile(file, []byte(strings.Join(texts[byKubectl], "---\n")), 0o600))
	r.kubectl("apply", "-n", driftName, "-f", file)
	helm := filepath.Join(dir, "helm")
	r.program("go", "build", "-C", "../oracle", "-o", helm, "helm.sh/helm/v4/cmd/helm")
	for l, serverSide := range map[life]string{byHelmClientSide: "false", byHelmServerSide: "true"} {
		chart := filepath.Join(dir, "chart-"+serverSide)
		must(r.T, os.MkdirAll(filepath.Join(chart, "templates"), 0o700))
		must(r.T, os.WriteFile(filepath.Join(chart, "Chart.yaml"), []byte("{apiVersion: v2, name: drift, version: 1.0.0}"), 0o600))
		must(r.T, os.WriteFile(filepath.Join(chart, "templates", "all.yaml"), []byte(strings.Join(texts[l], "---\n")), 0o600))
		r.program(helm, "install", "life-"+serverSide, chart, "-n", driftName, "--kubeconfig", r.cluster.Kubeconfig, "--server-side="+serverSide)
	}
	for _, p := range all {
		tracked := diff.Prepare(p.obj).DeepCopy()
		object.Track(tracked, driftName, driftName)
		switch p.life {
		case byArgoClientSide:
			raw, err := json.Marshal(tracked)
			must(r.T, err)
			annotations := tracked.GetAnnotations()
			annotations["kubectl.kubernetes.io/last-applied-configuration"] = string(raw)
			tracked.SetAnnotations(annotations)
			must(r.T, r.target.Create(r.Context(), tracked, fieldOwner("argocd-controller")))
		case byArgoServerSide:
			raw, err := json.Marshal(tracked)
			must(r.T, err)
			must(r.T, r.target.Patch(r.Context(), tracked, client.RawPatch(types.ApplyPatchType, raw), fieldOwner("argocd-controller"), client.ForceOwnership))
		}
	}
}

// comparer compares like the controller does, to see the fields.
func (r *run) comparer() *cluster.Connection {
	r.Helper()
	config, err := r.cluster.Credentials()
	must(r.T, err)
	f := cluster.NewFleet(r.Context(), cluster.Options{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Clock: clock.RealClock{}})
	f.Replace(destination.Clusters{{Name: "one", Server: r.cluster.Server, Config: config}})
	conn, err := f.Connection(r.cluster.Server)
	must(r.T, err)
	r.until("a connection", func() error {
		if s := conn.State(); s.Status != cluster.StatusSuccessful {
			return fmt.Errorf("%s: %s", s.Status, s.Message)
		}
		return nil
	})
	return conn
}

// beside gives a target as it is sent and what is live of it, as the controller
// compares them.
func (r *run) beside(conn *cluster.Connection, wanted *unstructured.Unstructured) (target, live *unstructured.Unstructured) {
	r.Helper()
	target = wanted.DeepCopy()
	object.Track(target, driftName, driftName)
	seen, err := conn.Observe(r.Context(), cluster.Want{Instance: driftName, Targets: []*unstructured.Unstructured{target}})
	must(r.T, err)
	live, err = conn.InVersion(r.Context(), seen.Live[object.KeyOf(target)], target.GroupVersionKind())
	must(r.T, err)
	return target, live
}

// fields lists where an object differs.
func (r *run) fields(conn *cluster.Connection, target *unstructured.Unstructured) []string {
	r.Helper()
	target, live := r.beside(conn, target)
	options := diff.ParseSettings(nil).Compare
	if diff.InSync(r.Context(), target, live, diff.Ignore{}, options) {
		return nil
	}
	predicted, err := conn.Predict(r.Context(), target, syncplan.MannerOf(target, live, nil, false).Comparison())
	must(r.T, err)
	return r.differing(target, live, predicted)
}

// threeWay lists where an object differs from what a client-side apply would
// make of it, computed in memory.
func (r *run) threeWay(conn *cluster.Connection, target *unstructured.Unstructured) []string {
	r.Helper()
	target, live := r.beside(conn, target)
	predicted, err := diff.ThreeWay(target, live, cluster.BuiltIn(target.GroupVersionKind()))
	must(r.T, err)
	return r.differing(target, live, predicted)
}

func (r *run) differing(target, live, predicted *unstructured.Unstructured) []string {
	r.Helper()
	options := diff.ParseSettings(nil).Compare
	result, err := diff.Compare(r.Context(), diff.Input{Desired: target, Live: live, Predicted: predicted, Options: options})
	must(r.T, err)
	var out []string
	for _, f := range result.Fields {
		out = append(out, f.Path)
	}
	return out
}

// outOfSync names the objects that the Application shows as such.
func outOfSync(app *v1alpha1.Application) []string {
	var out []string
	for _, res := range app.Status.Resources {
		if res.Status != v1alpha1.SyncStatusSynced {
			out = append(out, res.Kind+"/"+res.Name)
		}
	}
	slices.Sort(out)
	return out
}

// drift: more than two hundred objects of many kinds and lives.
func (r *run) drift() {
	crds, err := os.ReadFile("testdata/drift-crds.yaml")
	must(r.T, err)
	r.kubectl("create", "namespace", driftName)
	r.kubectl("apply", "-f", "testdata/drift-crds.yaml")
	r.kubectl("wait", "--for=condition=Established", "--timeout=20s", "crd/typeds.drift.example.com", "crd/opens.drift.example.com", "crd/wides.drift.example.com")
	all := pieces(r.T)
	if len(all) < 200 {
		r.Fatalf("only %d objects", len(all))
	}
	r.past(all)
	texts := []string{string(crds)}
	for _, p := range all {
		texts = append(texts, p.text)
	}
	r.commit(strings.Join(texts, "---\n"))
	r.create("")

	drifted := outOfSync(r.status(v1alpha1.SyncStatusOutOfSync))
	conn := r.comparer()
	for _, p := range all {
		if p.life >= byArgoClientSide && slices.Contains(drifted, p.obj.GetKind()+"/"+p.obj.GetName()) {
			r.Errorf("%s was applied by Argo CD's conventions and is not in sync before the first sync: %v", p.obj.GetName(), r.fields(conn, p.obj))
		}
		if p.life == fresh {
			continue
		}
		tracking := func(field string) bool {
			return p.life < byArgoClientSide && strings.HasPrefix(field, "metadata.annotations")
		}
		if got := slices.DeleteFunc(r.threeWay(conn, p.obj), tracking); len(got) > 0 {
			r.Errorf("%s, applied in manner %d, differs three-way in memory: %v", p.obj.GetName(), p.life, got)
		}
	}
	r.succeeds("")
	if bad := outOfSync(r.status(v1alpha1.SyncStatusSynced)); len(bad) > 0 {
		r.Errorf("not in sync at once: %v", bad)
	}
	r.wrote(r.succeeds(""))
	r.edits(conn, all)
}

// edits changes one field of one object of each sample, of every life in
// turn: exactly those are out of sync, in exactly that field, and the next
// sync writes exactly those.
func (r *run) edits(conn *cluster.Connection, all []*piece) {
	var edited []string
	var changed []*piece
	for i, p := range all {
		if (i/int(lives))%int(lives) != int(p.life) {
			continue
		}
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(p.obj.GroupVersionKind())
		live.SetName(p.obj.GetName())
		live.SetNamespace(p.obj.GetNamespace())
		must(r.T, r.target.Patch(r.Context(), live, client.RawPatch(types.MergePatchType, []byte(p.edit)), fieldOwner("kubectl-edit")))
		edited = append(edited, p.obj.GetKind()+"/"+p.obj.GetName())
		changed = append(changed, p)
	}
	slices.Sort(edited)
	r.until("the edited objects are out of sync, and no others", func() error {
		if got := outOfSync(r.status(v1alpha1.SyncStatusOutOfSync)); !slices.Equal(got, edited) {
			return fmt.Errorf("\n%v\nwant\n%v", got, edited)
		}
		return nil
	})
	r.until("each differs in exactly the field that was changed", func() error {
		var wrong []string
		for _, p := range changed {
			if got := r.fields(conn, p.obj); strings.Join(got, " ") != p.field {
				wrong = append(wrong, fmt.Sprintf("%s differs in %v, want %s", p.obj.GetName(), got, p.field))
			}
			if got := r.threeWay(conn, p.obj); !places(got, p.field) {
				wrong = append(wrong, fmt.Sprintf("%s differs three-way in memory in %v, want %s", p.obj.GetName(), got, p.field))
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "\n"))
		}
		return nil
	})
	written := r.succeeds("")
	if len(written) != len(changed) {
		r.Errorf("%d objects were written, want the %d that were edited: %v", len(written), len(changed), written)
	}
	r.status(v1alpha1.SyncStatusSynced)
}

// places says that fields were found, and only such as are named: what the API
// server derives from others is not foreseen in memory, and elements of lists of
// custom resources are counted there.
func places(got []string, named string) bool {
	place := func(s string) string { return elements.ReplaceAllString(s, "[]") }
	want := strings.Fields(place(named))
	return len(got) > 0 && !slices.ContainsFunc(got, func(s string) bool { return !slices.Contains(want, place(s)) })
}

var elements = regexp.MustCompile(`\[[^\]]*\]`)

// TestNoFalseDrift has a rig of its own: what it does to a cluster would slow
// the other cases down.
func TestNoFalseDrift(t *testing.T) {
	s := start(t)
	must(t, s.rig.Launch())
	for name, play := range map[string]func(*run){driftName: (*run).drift, "mutated": (*run).mutated, "scaled": (*run).scaled} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(&run{suite: s, T: t, name: name})
		})
	}
}
