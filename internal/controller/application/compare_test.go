package application

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// kinds answers as an API server that has ConfigMaps and Namespaces.
func kinds(w http.ResponseWriter, r *http.Request) {
	give := func(o any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o)
	}
	switch r.URL.Path {
	case "/version":
		give(map[string]string{"gitVersion": "v1.34.0"})
	case "/api":
		give(metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case "/apis":
		give(metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList"}})
	case "/api/v1":
		give(metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}, {Name: "namespaces", Kind: "Namespace"},
		}})
	default:
		http.NotFound(w, r)
	}
}

// comparing is a pass of Application web on a cluster of these kinds.
func comparing(t *testing.T) *pass {
	t.Helper()
	at := httptest.NewServer(http.HandlerFunc(kinds))
	t.Cleanup(at.Close)
	fleet := cluster.NewFleet(t.Context(), cluster.Options{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Clock: clock.RealClock{}})
	news := make(chan cluster.Change, 10)
	fleet.OnChange(func(c cluster.Change) { news <- c })
	fleet.Replace(destination.Clusters{{Name: "far", Server: at.URL}})
	conn, err := fleet.Connection(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	for conn.State().Status != cluster.StatusSuccessful {
		select {
		case <-news:
		case <-time.After(20 * time.Second):
			t.Fatalf("not connected: %+v", conn.State())
		}
	}
	app := &v1alpha1.Application{}
	app.Name, app.Namespace = "web", "argocd"
	app.Spec.Destination.Namespace = "shop"
	p := &pass{
		Controller: &Controller{Options: Options{Settings: &settings.Store{}, Clock: clock.RealClock{}, Namespace: "argocd"}},
		app:        app, before: app.DeepCopy(), instance: "web", conn: conn, cluster: destination.Cluster{Name: "far", Server: at.URL},
		project: &v1alpha1.AppProject{Spec: v1alpha1.AppProjectSpec{
			Destinations:             []v1alpha1.ApplicationDestination{{Server: "*", Namespace: "shop"}, {Server: "*", Namespace: ""}},
			ClusterResourceWhitelist: []v1alpha1.ClusterResourceRestriction{{Group: "*", Kind: "*"}},
		}},
	}
	p.project.Name = "narrow"
	p.rules.Store(&systemRules{tracking: object.TrackingOf(nil)})
	return p
}

// configMap is one of namespace/name, with annotations as key=value.
func configMap(id string, annotations ...string) *unstructured.Unstructured {
	namespace, name, _ := strings.Cut(id, "/")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	u.SetNamespace(namespace)
	u.SetName(name)
	all := map[string]string{}
	for _, a := range annotations {
		k, v, _ := strings.Cut(a, "=")
		all[k] = v
	}
	if len(all) > 0 {
		u.SetAnnotations(all)
	}
	return u
}

// meet pairs what Git has with what is live, which is all tracked as ours.
func meet(p *pass, git, live []*unstructured.Unstructured) *view {
	v := &view{manifests: &manifest.Manifests{Objects: git}, forbidden: map[object.Key]error{}, ignored: map[object.Key]bool{}, unseen: map[object.Key]string{}}
	plain, hooks := p.targets(v, asIs)
	v.live = &cluster.Observation{Live: map[object.Key]*unstructured.Unstructured{}}
	for _, l := range live {
		l = l.DeepCopy()
		p.systemRules().tracking.Mark(l, p.instance, p.app.Spec.Destination.Namespace)
		v.live.Live[object.KeyOf(l)] = l
	}
	p.pair(v, plain, hooks)
	return v
}

func sides(v *view) []string {
	var out []string
	for _, pair := range slices.Concat(v.pairs, v.hooks) {
		out = append(out, pair.Key.String()+map[bool]string{true: " target"}[pair.Target != nil]+map[bool]string{true: " live"}[pair.Live != nil])
	}
	return out
}

// TestWhatIsCompared (spec/diff-health.md §1, spec/sync.md §4.1): what the
// project forbids is out of sight, and what Git wants to be skipped is neither
// applied nor pruned.
func TestWhatIsCompared(t *testing.T) {
	t.Parallel()
	const hook = "argocd.argoproj.io/hook="
	p := comparing(t)
	for name, c := range map[string]struct {
		git, live []*unstructured.Unstructured
		want      []string
	}{
		"ours, new and old": {
			[]*unstructured.Unstructured{configMap("/a"), configMap("shop/new")}, []*unstructured.Unstructured{configMap("shop/a"), configMap("shop/old")},
			[]string{"/ConfigMap/shop/a target live", "/ConfigMap/shop/new target", "/ConfigMap/shop/old live"},
		},
		"in a namespace that the project forbids": {
			[]*unstructured.Unstructured{configMap("other/a"), configMap("other/h", hook+"PreSync")},
			[]*unstructured.Unstructured{configMap("other/a"), configMap("other/old"), configMap("other/h", hook+"PreSync")},
			[]string{"/ConfigMap/other/a target", "/ConfigMap/other/h target"},
		},
		"skipped since it was deployed": {[]*unstructured.Unstructured{configMap("shop/a", hook+"Skip")}, []*unstructured.Unstructured{configMap("shop/a")}, nil},
		"a hook that is misspelt":       {[]*unstructured.Unstructured{configMap("shop/a", hook+"Presync")}, []*unstructured.Unstructured{configMap("shop/a")}, nil},
		"a hook that appears twice":     {[]*unstructured.Unstructured{configMap("shop/a", hook+"PreSync"), configMap("shop/a", hook+"PostSync")}, nil, []string{"/ConfigMap/shop/a target"}},
		"an object that ends as a hook": {[]*unstructured.Unstructured{configMap("shop/b"), configMap("shop/a"), configMap("shop/a", hook+"PostSync")}, nil, []string{"/ConfigMap/shop/b target", "/ConfigMap/shop/a target"}},
		"hooks without a name":          {[]*unstructured.Unstructured{configMap("shop/", hook+"PreSync"), configMap("shop/", hook+"PreSync")}, nil, []string{"/ConfigMap/shop/ target", "/ConfigMap/shop/ target"}},
		"skipped and more":              {[]*unstructured.Unstructured{configMap("shop/a", hook+"Skip,PreSync")}, nil, []string{"/ConfigMap/shop/a target"}},
	} {
		v := meet(p, c.git, c.live)
		if diff := cmp.Diff(c.want, sides(v)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		repeated := slices.ContainsFunc(v.conditions, func(c v1alpha1.ApplicationCondition) bool {
			return c.Type == v1alpha1.ConditionRepeatedResourceWarning && c.Message == "Resource /ConfigMap/shop/a appeared 2 times among application resources."
		})
		if repeated != (name == "a hook that appears twice" || name == "an object that ends as a hook") {
			t.Errorf("%s: conditions %v", name, v.conditions)
		}
	}
}

// TestAnObjectWithoutANamespace (spec/application.md §8): it is an error of the
// spec, which no sync begins with.
func TestAnObjectWithoutANamespace(t *testing.T) {
	t.Parallel()
	p := comparing(t)
	p.app.Spec.Destination.Namespace = ""
	p.app.Status.OperationState = &v1alpha1.OperationState{Phase: v1alpha1.OperationRunning}
	p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}}
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "n"}}}
	v := meet(p, []*unstructured.Unstructured{configMap("/a"), configMap("shop/b"), namespace}, nil)
	want := []v1alpha1.ApplicationCondition{{Type: v1alpha1.ConditionInvalidSpecError, Message: "Namespace for a /v1, Kind=ConfigMap is missing."}}
	if diff := cmp.Diff(want, v.conditions); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	x := &execution{pass: p}
	if phase, why := x.stop(v); phase != v1alpha1.OperationError || why != "InvalidSpecError: "+want[0].Message {
		t.Errorf("the operation goes on: %s %q", phase, why)
	}
	if phase, why := x.stop(meet(p, []*unstructured.Unstructured{configMap("shop/b")}, nil)); phase != "" {
		t.Errorf("the operation stops: %s %q", phase, why)
	}
}

// TestInvalidTasksAreShown (spec/sync.md §5): results name what is not valid,
// and why.
func TestInvalidTasksAreShown(t *testing.T) {
	t.Parallel()
	p := comparing(t)
	p.app.Status.OperationState = &v1alpha1.OperationState{SyncResult: &v1alpha1.SyncOperationResult{}}
	p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{}}
	other, old := configMap("shop/c"), configMap("shop/d")
	other.SetKind("Gadget")
	old.SetAPIVersion("v1beta1")
	v := meet(p, []*unstructured.Unstructured{configMap("shop/a"), configMap("away/b"), other, old}, nil)
	x := &execution{pass: p, results: map[syncplan.TaskID]syncplan.Result{}}
	texts := []string{
		`The Kubernetes API could not find /Gadget for requested resource shop/c. Make sure the "Gadget" CRD is installed on the destination cluster.`,
		`The Kubernetes API could not find version "v1beta1" of /ConfigMap for requested resource shop/d. Version "v1" of /ConfigMap is installed on the destination cluster.`,
		"namespace away is not permitted in project 'narrow'",
	}
	if diff := cmp.Diff(texts, x.invalidTasks(v, syncplan.Tasks(syncplan.Request{Pairs: v.pairs}))); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	x.store(p.app.Status.OperationState)
	var got []string
	for _, r := range p.app.Status.OperationState.SyncResult.Resources {
		got = append(got, r.Name+" "+string(r.Status)+" "+r.Message)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"b SyncFailed " + texts[2], "c SyncFailed " + texts[0], "d SyncFailed " + texts[1]}, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

// TestResultsKeepTheirOrder (spec/sync.md §3): those that are new come last, in
// the order of the plan.
func TestResultsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	id := func(phase syncplan.Phase, name string) syncplan.TaskID {
		return syncplan.TaskID{Key: object.Key{Kind: "ConfigMap", Name: name}, Phase: phase}
	}
	state := &v1alpha1.OperationState{SyncResult: &v1alpha1.SyncOperationResult{}}
	x := &execution{
		results: map[syncplan.TaskID]syncplan.Result{},
		places: map[syncplan.TaskID]int{
			id(syncplan.PreSync, "first"): 0, id(syncplan.Sync, "z"): 1, id(syncplan.Sync, "a"): 2, id(syncplan.PostSync, "last"): 3,
		},
	}
	step := func(want string, done ...syncplan.TaskID) {
		t.Helper()
		for _, d := range done {
			x.results[d] = syncplan.Result{Status: v1alpha1.ResultSynced}
		}
		x.store(state)
		var got []string
		for _, r := range state.SyncResult.Resources {
			got = append(got, r.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	step("first", id(syncplan.PreSync, "first"))
	step("first z a", id(syncplan.Sync, "a"), id(syncplan.Sync, "z"))
	delete(x.places, id(syncplan.Sync, "z")) // it was pruned, and is no task any more
	x.places[id(syncplan.Sync, "a")] = 0
	step("first z a last", id(syncplan.PostSync, "last"))
}

// TestSummary: links of Application and resources, hosts of Ingresses, and
// whether it deploys Applications.
func TestSummary(t *testing.T) {
	t.Parallel()
	p := comparing(t)
	p.Health = labelled{}
	p.app.Annotations = map[string]string{"link.argocd.argoproj.io/grafana": "Dashboard|https://grafana.example.com/d/web", "link.argocd.argoproj.io/evil": "javascript:alert(1)"}
	ingress := resource("networking.k8s.io", "Ingress", "web", "", map[string]string{"link.argocd.argoproj.io/docs": "https://docs.example.com"})
	ingress.Live.Object["spec"] = map[string]any{"rules": []any{map[string]any{"host": "web.example.com", "http": map[string]any{"paths": []any{map[string]any{
		"path": "/", "pathType": "Prefix", "backend": map[string]any{"service": map[string]any{"name": "web", "port": map[string]any{"number": int64(80)}}},
	}}}}}}
	p.summarize(t.Context(), &view{pairs: []syncplan.Pair{ingress}, live: &cluster.Observation{}})
	want := v1alpha1.ApplicationSummary{ExternalURLs: []string{"Dashboard|https://grafana.example.com/d/web", "http://web.example.com", "https://docs.example.com"}}
	if diff := cmp.Diff(want, p.app.Status.Summary); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p.summarize(t.Context(), &view{pairs: []syncplan.Pair{resource("argoproj.io", "Application", "child", "gone", nil)}, live: &cluster.Observation{}})
	if !p.app.Status.Summary.IsAppOfApps {
		t.Error("it deploys an Application")
	}
}

// TestPausesOfRepetitions (spec/sync.md §12).
func TestPausesOfRepetitions(t *testing.T) {
	t.Parallel()
	factor := func(n int64) *int64 { return &n }
	for name, c := range map[string]struct {
		backoff *v1alpha1.Backoff
		n       int64
		want    time.Duration
	}{
		"by default":              {nil, 0, 5 * time.Second},
		"it grows":                {nil, 3, 40 * time.Second},
		"to a cap":                {nil, 50, 3 * time.Minute},
		"the first one is capped": {&v1alpha1.Backoff{Duration: "10m", MaxDuration: "1m"}, 0, time.Minute},
		"seconds":                 {&v1alpha1.Backoff{Duration: "7", Factor: factor(3)}, 1, 21 * time.Second},
		"without a cap":           {&v1alpha1.Backoff{Duration: "1h", MaxDuration: "0"}, 4, 16 * time.Hour},
		"for ever":                {&v1alpha1.Backoff{Duration: "1h", MaxDuration: "0"}, 100, longestWait},
		"a factor beyond bounds":  {&v1alpha1.Backoff{Duration: "1s", Factor: factor(1 << 62), MaxDuration: "1m"}, 2, time.Minute},
	} {
		if got, err := backoff(c.backoff, c.n); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

// TestForbiddenHooksOfADeletion: what the project forbids is not created by a
// deletion either.
func TestForbiddenHooksOfADeletion(t *testing.T) {
	t.Parallel()
	const hook = "argocd.argoproj.io/hook=PreDelete"
	p := comparing(t)
	v := meet(p, []*unstructured.Unstructured{configMap("shop/a", hook), configMap("other/b", hook), configMap("shop/", hook)}, nil)
	want := map[string]string{
		"a": "", "b": "PreDelete hook /ConfigMap/other/b: namespace other is not permitted in project 'narrow'",
		"": "PreDelete hook /ConfigMap/shop/ has no name: set metadata.name",
	}
	for _, h := range v.hooks {
		text := ""
		if err := v.creatable(syncplan.PreDelete, h); err != nil {
			text = err.Error()
		}
		if text != want[h.Key.Name] {
			t.Errorf("%s: %q, want %q", h.Key, text, want[h.Key.Name])
		}
	}
	if len(v.hooks) != len(want) {
		t.Errorf("%d hooks, want %d", len(v.hooks), len(want))
	}
}

// TestSkippedApplications (spec/application.md §5).
func TestSkippedApplications(t *testing.T) {
	t.Parallel()
	clusters := destination.Clusters{
		{Name: "far", Server: "https://far", Annotations: map[string]string{v1alpha1.AnnotationSkipReconcile: "true"}},
		{Name: "near", Server: "https://near", Annotations: map[string]string{v1alpha1.AnnotationSkipReconcile: "never"}},
	}
	for name, c := range map[string]struct {
		annotation, cluster string
		want                bool
	}{
		"neither":                {"", "near", false},
		"the Application":        {"true", "near", true},
		"a word that is no bool": {"yes", "near", false},
		"its cluster":            {"false", "far", true},
		"no such cluster":        {"", "gone", false},
	} {
		app := &v1alpha1.Application{}
		app.Annotations = map[string]string{v1alpha1.AnnotationSkipReconcile: c.annotation}
		app.Spec.Destination.Name = c.cluster
		if got := skipped(app, clusters); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestDeletionsThatHangAreTold (spec/observability.md §3): once for each reason.
func TestDeletionsThatHangAreTold(t *testing.T) {
	t.Parallel()
	p := windowedPass(friday(16))
	for _, text := range []string{"a", "a", "b"} {
		p.deletionError(text)
	}
	want := []event{
		{"Warning", "StatusRefreshed", "Unable to delete application resources: a"}, {"Warning", "StatusRefreshed", "Unable to delete application resources: b"},
	}
	if !slices.Equal(p.events, want) {
		t.Errorf("%v, want %v", p.events, want)
	}
}

// TestForbiddenObjectsAreNotDeployed: they are Unknown, and their Application is
// not in sync because of them (spec/diff-health.md §2).
func TestForbiddenObjectsAreNotDeployed(t *testing.T) {
	t.Parallel()
	p := comparing(t)
	p.Health = labelled{}
	v := meet(p, []*unstructured.Unstructured{configMap("shop/a"), configMap("other/b")}, []*unstructured.Unstructured{configMap("shop/a"), configMap("other/b")})
	for i := range v.pairs {
		v.pairs[i].InSync = v.pairs[i].Live != nil
	}
	p.summarize(t.Context(), v)
	got := map[string]v1alpha1.SyncStatusCode{"": p.app.Status.Sync.Status}
	for _, r := range p.app.Status.Resources {
		got[r.Name] = r.Status
	}
	want := map[string]v1alpha1.SyncStatusCode{"": v1alpha1.SyncStatusOutOfSync, "a": v1alpha1.SyncStatusSynced, "b": v1alpha1.SyncStatusUnknown}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
