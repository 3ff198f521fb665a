package assessment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	rules "github.com/sluice-cd/sluice/health"
	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/controller/assessment"
	"github.com/sluice-cd/sluice/internal/domain/health"
)

// counting counts the runs of scripts, in this process.
type counting struct {
	mu   sync.Mutex
	vm   *lua.VM
	runs int
	fail error
}

func (c *counting) Run(ctx context.Context, t lua.Task) (any, error) {
	c.mu.Lock()
	c.runs++
	err := c.fail
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.vm.Run(ctx, t)
}

type world struct {
	judge    *assessment.Judge
	runner   *counting
	clock    *testclock.FakeClock
	log      *bytes.Buffer
	registry *prometheus.Registry
}

func setup(t testing.TB) *world {
	t.Helper()
	shipped, err := lua.NewShipped(rules.Files)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		runner: &counting{vm: lua.NewVM()}, log: &bytes.Buffer{}, registry: prometheus.NewPedanticRegistry(),
		clock: testclock.NewFakeClock(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)),
	}
	w.judge = assessment.New(assessment.Options{
		Shipped: shipped, Runner: w.runner, Clock: w.clock, Log: slog.New(slog.NewTextHandler(w.log, nil)), Registerer: w.registry,
	})
	return w
}

func live(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

const thing = "{apiVersion: example.com/v1, kind: Thing, metadata: {name: a, uid: u1, resourceVersion: \"%d\"}, status: {phase: %s}}"

const phaseScript = "return {status = obj.status.phase, message = 'from a script'}"

func (w *world) says(t *testing.T, want, object string, args ...any) {
	t.Helper()
	v := w.judge.Assess(t.Context(), live(t, fmt.Sprintf(object, args...)), nil)
	got := "nothing"
	if v.Known {
		got = strings.TrimSpace(string(v.Code) + " " + v.Message)
	}
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestOrder: settings before shipped scripts before rules in Go before
// conventions.
func TestOrder(t *testing.T) {
	w := setup(t)
	const certificate = "{apiVersion: cert-manager.io/v1, kind: Certificate, status: {conditions: [{type: Ready, status: \"False\", message: denied}]}}"
	const service = "{apiVersion: v1, kind: Service}"
	const unheard = "{apiVersion: a.b/v1, kind: Unheard, status: {conditions: [{type: Ready, status: \"False\", message: busy}]}}"
	w.says(t, "Degraded denied", certificate)
	w.says(t, "Healthy", service)
	w.says(t, "Progressing busy", unheard)
	w.judge.Reload(map[string]string{
		"resource.customizations.health.cert-manager.io_Certificate": "return {status = 'Suspended'}",
		"resource.customizations.health.all":                         "return {status = 'Healthy', message = 'all'}",
		"resource.health.conventions":                                "false",
	})
	w.says(t, "Suspended", certificate)
	w.says(t, "Healthy all", service)
	w.says(t, "Healthy all", unheard)
	w.judge.Reload(map[string]string{"resource.health.conventions": "false"})
	w.says(t, "Degraded denied", certificate)
	w.says(t, "nothing", unheard)
	w.judge.Reload(nil)
	w.says(t, "Progressing busy", unheard)
}

// TestVerdictsOfScriptsAreRemembered by version, until the settings change.
func TestVerdictsOfScriptsAreRemembered(t *testing.T) {
	w := setup(t)
	config := map[string]string{"resource.customizations.health.example.com_Thing": phaseScript, "url": "a"}
	runs := func(want int) {
		t.Helper()
		if w.runner.runs != want {
			t.Errorf("%d runs, want %d", w.runner.runs, want)
		}
	}
	w.judge.Reload(config)
	w.says(t, "Healthy from a script", thing, 1, "Healthy")
	w.says(t, "Healthy from a script", thing, 1, "Healthy")
	runs(1)
	w.says(t, "Degraded from a script", thing, 2, "Degraded")
	runs(2)
	w.judge.Reload(map[string]string{"resource.customizations.health.example.com_Thing": phaseScript, "url": "b"})
	w.says(t, "Degraded from a script", thing, 2, "Degraded")
	runs(2) // another key changed
	config["resource.customizations.health.example.com_Thing"] = "return {status = 'Suspended'}"
	w.judge.Reload(config)
	w.says(t, "Suspended", thing, 2, "Degraded")
	runs(3)
}

// TestAFailedScriptIsUnknown, says so, and is asked again after a minute.
func TestAFailedScriptIsUnknown(t *testing.T) {
	w := setup(t)
	w.judge.Reload(map[string]string{"resource.customizations.health.example.com_Thing": phaseScript})
	w.runner.fail = &lua.LimitError{Name: "health script example.com/Thing", Limit: "ran longer than 1s"}
	const says = "Unknown health script example.com/Thing was stopped: it ran longer than 1s: make it do less"
	w.says(t, says, thing, 1, "Healthy")
	w.says(t, says, thing, 1, "Healthy")
	if w.runner.runs != 1 {
		t.Errorf("%d runs, want 1", w.runner.runs)
	}
	w.runner.fail = errors.New("script:1: broken")
	w.clock.Step(2 * time.Minute)
	w.says(t, "Unknown script:1: broken", thing, 1, "Healthy")
	w.runner.fail = nil
	w.clock.Step(2 * time.Minute)
	w.says(t, "Healthy from a script", thing, 1, "Healthy")
	if got := strings.Count(w.log.String(), "reason=HealthScriptFailed"); got != 2 {
		t.Errorf("%d log lines, want 2:\n%s", got, w.log)
	}
	want := `# HELP sluice_health_script_failures_total Health scripts that ended with an error or were stopped at a limit.
# TYPE sluice_health_script_failures_total counter
sluice_health_script_failures_total{reason="error",source="custom"} 1
sluice_health_script_failures_total{reason="limit",source="custom"} 1
`
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), "sluice_health_script_failures_total"); err != nil {
		t.Error(err)
	}
}

// TestACancelledRunIsNotRemembered as a failure of the script.
func TestACancelledRunIsNotRemembered(t *testing.T) {
	w := setup(t)
	w.judge.Reload(map[string]string{"resource.customizations.health.example.com_Thing": phaseScript})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v := w.judge.Assess(ctx, live(t, fmt.Sprintf(thing, 1, "Healthy")), nil); v.Err == nil {
		t.Errorf("verdict %v", v)
	}
	w.says(t, "Healthy from a script", thing, 1, "Healthy")
	if w.log.Len() > 0 {
		t.Errorf("log:\n%s", w.log)
	}
}

// TestWrongKeysAreLogged and counted; the good ones hold.
func TestWrongKeysAreLogged(t *testing.T) {
	w := setup(t)
	w.judge.Reload(map[string]string{
		"resource.customizations.helth.example.com_Thing":  "x",
		"resource.customizations.health.example.com_Thing": phaseScript,
		"resource.health.conventions":                      "maybe",
	})
	w.says(t, "Healthy from a script", thing, 1, "Healthy")
	for _, part := range []string{"resource.customizations.helth.example.com_Thing", "resource.health.conventions"} {
		if !strings.Contains(w.log.String(), part) {
			t.Errorf("%s is not in the log:\n%s", part, w.log)
		}
	}
	want := `# HELP sluice_resource_customizations_invalid Customizations of argocd-cm that cannot be used.
# TYPE sluice_resource_customizations_invalid gauge
sluice_resource_customizations_invalid 2
`
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), "sluice_resource_customizations_invalid"); err != nil {
		t.Error(err)
	}
}

// TestReloadDuringAssess swaps the settings under many readers.
func TestReloadDuringAssess(t *testing.T) {
	w := setup(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 200 {
				v := w.judge.Assess(t.Context(), live(t, fmt.Sprintf(thing, i, "Healthy")), nil)
				if v.Known && v.Code != health.Healthy && v.Code != health.Suspended {
					t.Errorf("verdict %v", v)
				}
			}
		})
	}
	for i := range 50 {
		w.judge.Reload(map[string]string{"resource.customizations.health.example.com_Thing": fmt.Sprintf("return {status = 'Suspended', message = '%d'}", i)})
	}
	group.Wait()
}

// BenchmarkRemembered is the usual case: nothing changed.
func BenchmarkRemembered(b *testing.B) {
	w := setup(b)
	w.judge.Reload(map[string]string{"resource.customizations.health.example.com_Thing": phaseScript})
	u := live(b, fmt.Sprintf(thing, 1, "Healthy"))
	b.ReportAllocs()
	for b.Loop() {
		w.judge.Assess(b.Context(), u, nil)
	}
}
