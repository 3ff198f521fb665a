package lua_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/customization"
)

var update = flag.Bool("update", false, "rewrite the golden files of actions")

// TestActions plays actions.txtar beside shipped action scripts, and the
// archives of testdata/actions with settings of their own. "title: object" is
// the object, "title: actions" what is offered, "title: run name key=value"
// what the action wants changed.
func TestActions(t *testing.T) {
	own := os.DirFS("testdata/actions")
	runner := pool(t, clock.RealClock{})
	for root, files := range map[string]fs.FS{"../../../health": folder, "testdata/actions": own} {
		names, err := fs.Glob(files, "*/*/actions.txtar")
		if err != nil {
			t.Fatal(err)
		}
		flat, err := fs.Glob(files, "*.txtar")
		if err != nil || len(names)+len(flat) == 0 {
			t.Fatalf("no cases below %s: %v", root, err)
		}
		for _, name := range append(names, flat...) {
			t.Run(path.Dir(name)+path.Base(root), func(t *testing.T) {
				playActions(t, path.Join(root, name), &lua.Actions{Shipped: shipped(t), Runner: runner})
			})
		}
	}
}

// TestActionTable: what the table of the specification offers for each kind
// (spec/diff-health.md §11) is offered, and nothing else, and a case runs it.
func TestActionTable(t *testing.T) {
	const flux = "reconcile resume suspend"
	want := map[string]string{
		"apps/Deployment": "pause restart resume scale", "apps/StatefulSet": "restart scale", "apps/DaemonSet": "restart",
		"batch/CronJob": "create-job resume suspend", "batch/Job": "resume suspend terminate",
		"argoproj.io/Rollout": "abort pause promote-full restart resume retry skip-current-step", "argoproj.io/AnalysisRun": "terminate",
		"argoproj.io/Application": "toggle-auto-sync", "argoproj.io/CronWorkflow": "create-workflow", "argoproj.io/WorkflowTemplate": "create-workflow",
		"external-secrets.io/ExternalSecret": "refresh", "external-secrets.io/PushSecret": "push",
		"helm.toolkit.fluxcd.io/HelmRelease": flux, "kustomize.toolkit.fluxcd.io/Kustomization": flux, "source.toolkit.fluxcd.io/GitRepository": flux,
		"source.toolkit.fluxcd.io/HelmChart": flux, "source.toolkit.fluxcd.io/HelmRepository": flux, "source.toolkit.fluxcd.io/Bucket": flux, "source.toolkit.fluxcd.io/OCIRepository": flux,
		"image.toolkit.fluxcd.io/ImageRepository": flux, "image.toolkit.fluxcd.io/ImageUpdateAutomation": flux, "notification.toolkit.fluxcd.io/Receiver": flux,
		"notification.toolkit.fluxcd.io/Alert": "resume suspend", "notification.toolkit.fluxcd.io/Provider": "resume suspend",
		"keda.sh/ScaledObject": "pause paused-replicas resume", "keda.sh/ScaledJob": "pause resume",
		"postgresql.cnpg.io/Cluster": "promote reload restart resume suspend", "k8s.mariadb.com/MariaDB": "resume suspend",
		"psmdb.percona.com/PerconaServerMongoDB": "pause unpause", "core.strimzi.io/StrimziPodSet": "rolling-update", "promoter.argoproj.io/PullRequest": "merge",
		"numaflow.numaproj.io/Pipeline":               "delete force-promote pause unpause-fast unpause-gradual",
		"numaflow.numaproj.io/MonoVertex":             "force-promote pause unpause-fast unpause-gradual",
		"numaflow.numaproj.io/InterStepBufferService": "force-promote",
		"numaplane.numaproj.io/PipelineRollout":       "allow-data-loss disallow-data-loss pause unpause-fast unpause-gradual",
		"numaplane.numaproj.io/MonoVertexRollout":     "pause unpause-fast unpause-gradual",
	}
	files, err := fs.Glob(folder, "*/*/actions.txtar")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range files {
		raw, err := fs.ReadFile(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		offered, run := map[string]bool{}, map[string]bool{}
		for _, f := range txtar.Parse(raw).Files {
			_, what, _ := strings.Cut(f.Name, ": ")
			if name, ok := strings.CutPrefix(what, "run "); ok && len(f.Data) > 0 && !strings.HasPrefix(string(f.Data), "error: ") {
				run[strings.Fields(name)[0]] = true
			}
			for line := range strings.Lines(string(f.Data)) {
				var a action.Action
				if what == "actions" && json.Unmarshal([]byte(line), &a) == nil {
					offered[a.Name] = true
				}
			}
		}
		got[path.Dir(file)] = strings.Join(slices.Sorted(maps.Keys(offered)), " ")
		if diff := cmp.Diff(offered, run); diff != "" {
			t.Errorf("%s: offered, and run with an effect (-offered +run):\n%s", file, diff)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func playActions(t *testing.T, file string, a *lua.Actions) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for i, f := range archive.Files {
		title, what, _ := strings.Cut(f.Name, ": ")
		got := ""
		switch verb, call, _ := strings.Cut(what, " "); verb {
		case "":
			set, errs := customization.Parse(map[string]string{"resource.customizations": string(f.Data)})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			a.Set = set
			continue
		case "object":
			objects[title] = &unstructured.Unstructured{Object: object(t, string(f.Data))}
			continue
		case "actions":
			got = listed(t, a, objects[title])
		case "run":
			got = ran(t, a, objects[title], call)
		default:
			t.Fatalf("%s: file %q", file, f.Name)
		}
		if diff := cmp.Diff(string(f.Data), got); diff != "" && !*update {
			t.Errorf("%s: %s (-want +got):\n%s", file, f.Name, diff)
		}
		archive.Files[i].Data = []byte(got)
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(t *testing.T, a *lua.Actions, o *unstructured.Unstructured) string {
	list, err := a.Discover(t.Context(), o, noon)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var out strings.Builder
	for _, item := range list {
		raw, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(raw, '\n'))
	}
	return out.String()
}

func ran(t *testing.T, a *lua.Actions, o *unstructured.Unstructured, call string) string {
	words := strings.Fields(call)
	params := map[string]string{}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		params[key] = value
	}
	before := o.DeepCopy()
	changes, err := a.Run(t.Context(), lua.Request{Object: o, Action: words[0], Params: params, Now: noon})
	if diff := cmp.Diff(before, o); diff != "" {
		t.Errorf("%s changed its source:\n%s", call, diff)
	}
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	out := ""
	for _, c := range changes {
		if c.Operation == action.Create {
			raw, err := json.Marshal(c.Object.Object)
			if err != nil {
				t.Fatal(err)
			}
			out += "create " + string(raw) + "\n"
			continue
		}
		main, status, err := action.Patches(o, c.Object)
		if err != nil {
			t.Fatal(err)
		}
		if main != nil {
			out += "patch " + string(main) + "\n"
		}
		if status != nil {
			out += "status " + string(status) + "\n"
		}
	}
	return out
}
