//go:build soak

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// TestCommitAtEachPhase commits the next version while a rollout is in each of
// its phases: it starts over at the canary, in order, and what had not begun
// of the version before never reaches a cluster.
func TestCommitAtEachPhase(t *testing.T) {
	p := startPayments(t)
	for _, s := range phases {
		p.scenario(s.id, s.play)
	}
}

// supersede commits the next version, by which what held the one before is
// over, and requires that it reaches every cluster in order.
func (p *payments) supersede(before string, reached ...string) {
	p.Helper()
	id := p.push()
	settle(p.T, p.r, id, 90*time.Second)
	p.ordered(p.tag())
	p.reached(before, reached...)
}

// freeze gives the project a window in which nothing of these clusters syncs.
func (p *payments) freeze(names ...string) {
	p.Helper()
	windows := "null"
	if len(names) > 0 {
		var apps []string
		for _, n := range names {
			apps = append(apps, fmt.Sprintf("%q", short[n]+"-payment-service"))
		}
		windows = fmt.Sprintf(`[{"kind":"deny","schedule":"* * * * *","duration":"1h","applications":[%s]}]`, strings.Join(apps, ","))
	}
	project := &v1alpha1.AppProject{}
	must(p.T, p.r.Hub.Get(p.Context(), client.ObjectKey{Namespace: rig.Namespace, Name: "default"}, project))
	must(p.T, p.r.Hub.Patch(p.Context(), project, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"syncWindows":%s}}`, windows))))
}

var phases = []scenario{
	{"waiting", func(p *payments) {
		p.freeze("c")
		p.push()
		before := p.tag()
		p.until("the canary waits for its project", func(_ *v1alpha1.ApplicationSet, r records) bool { return r["c"].Reason == "SyncWindowClosed" })
		id := p.push()
		p.until("the next version waits as well", func(_ *v1alpha1.ApplicationSet, r records) bool {
			return r["c"].Reason == "SyncWindowClosed" && slices.Equal(r["c"].TargetRevisions, []string{id})
		})
		p.freeze()
		p.supersede(before)
	}},
	{"pending", func(p *payments) {
		skip := lines(p.T, p.r, "hub")
		id := p.push()
		before := p.tag()
		moment{"the canary is admitted", "hub", hubWrite("applicationsets", `"status":"Pending"`)}.await(p.T, p.r, skip, id)
		p.r.Kill(syscall.SIGKILL)
		p.push()
		must(p.T, p.r.Launch())
		settle(p.T, p.r, p.push(), 90*time.Second)
		p.ordered(p.tag())
		for _, name := range []string{"e", "w", "eu", "ap"} {
			if slices.Contains(p.received(before), name) {
				p.Errorf("%s reached %s although the canary never proved it", before, name)
			}
		}
	}},
	{"progressing", func(p *payments) {
		p.push("c=never-ready")
		before := p.tag()
		p.await("c", "never-ready-"+before)
		p.supersede(before)
	}},
	{"baking", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[0].BakeTime = "10m" })
		id := p.push()
		before := p.tag()
		p.phase("Baking", id)
		p.push()
		p.until("the next version bakes", func(s *v1alpha1.ApplicationSet, _ records) bool {
			return s.Status.Rollout.Phase == "Baking" && s.Status.Rollout.Target.Sources[0].Revision != id
		})
		p.rolling(func(*v1alpha1.RollingSync) {})
		p.supersede(before, "c")
	}},
	{"awaiting approval", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].Approval = "Before" })
		id := p.push()
		before := p.tag()
		p.phase("AwaitingApproval", id)
		p.annotate("promote-rollout", "primary")
		p.await("e", before)
		next := p.push()
		p.phase("AwaitingApproval", next) // the word for one rollout is none for the next
		p.annotate("promote-rollout", "primary")
		settle(p.T, p.r, next, time.Minute)
		p.ordered(p.tag())
	}},
	{"paused", func(p *payments) {
		p.annotate("pause-rollout", "true")
		id := p.push()
		before := p.tag()
		p.phase("Paused", id)
		next := p.push()
		p.phase("Paused", next)
		p.annotate("pause-rollout", "")
		settle(p.T, p.r, next, time.Minute)
		p.ordered(p.tag())
		p.reached(before)
	}},
	{"halted", func(p *payments) {
		p.push("c=crash")
		before := p.tag()
		p.halted("ApplicationDegraded", 1)
		p.supersede(before)
	}},
	{"rolling back", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].OnFailure = "Rollback" })
		p.push("e=slow", "w=crash")
		before := p.tag()
		p.until("the rollout turns back", func(s *v1alpha1.ApplicationSet, _ records) bool { return s.Status.Rollout.Phase == "RollingBack" })
		id := p.push()
		settle(p.T, p.r, id, 90*time.Second)
		p.ordered(p.tag())
		p.reached(before, "c")
	}},
	{"rolled back", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[0].OnFailure = "Rollback" })
		id := p.push("c=crash")
		before := p.tag()
		p.phase("RolledBack", id)
		p.supersede(before)
	}},
	{"completed", func(p *payments) {
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
}

// TestProjectWindowInRollout is I13 on clusters: the Application whose project
// has closed its window gets no operation and uses no slot, the other of its
// step goes on, the step waits, and the window's end is noticed by itself.
func TestProjectWindowInRollout(t *testing.T) {
	p := startPayments(t)
	p.rolling(func(r *v1alpha1.RollingSync) {
		one := intstr.FromInt32(1)
		r.Steps[1].MaxUpdate = &one
	})
	p.freeze("e")
	id := p.push()
	p.await("w", p.tag())
	p.until("e waits for its project and w is done", func(s *v1alpha1.ApplicationSet, r records) bool {
		return s.Status.Rollout.CurrentStep == 2 && r["e"].Status == "Waiting" && r["e"].Reason == "SyncWindowClosed" && r["w"].Status == "Healthy"
	})
	p.reached(p.tag(), "c", "w")
	p.sync("e") // automated syncs are forbidden, and so are a person's: the window has no manualSync
	must(t, rig.Until(t.Context(), 20*time.Second, "a person's sync waits for the window", func(ctx context.Context) (bool, error) {
		app, err := get(ctx, p.r, short["e"]+"-payment-service")
		return err == nil && app.Status.OperationState != nil && strings.Contains(app.Status.OperationState.Message, "window"), err
	}))
	p.reached(p.tag(), "c", "w")
	p.freeze()
	settle(t, p.r, id, time.Minute)
	p.ordered(p.tag())
}

// exporter is what Prometheus scrapes: the share of errors of a version.
type exporter struct{ errors atomic.Int64 }

func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "# TYPE errors_percent gauge\nerrors_percent{service=\"payment\"} %d\n", e.errors.Load())
}

// startPrometheus runs the real server, which scrapes the exporter.
func startPrometheus(t *testing.T, e *exporter) (address string) {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("the program prometheus is missing: install the Debian package prometheus (%v)", err)
	}
	web := httptest.NewServer(e)
	t.Cleanup(web.Close)
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 200ms}\nscrape_configs:\n- job_name: payment\n  static_configs: [{targets: [%q]}]\n", strings.TrimPrefix(web.URL, "http://"))
	must(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	port := httptest.NewServer(http.NotFoundHandler()) // a port that is free a moment later
	address = port.URL
	port.Close()
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+strings.TrimPrefix(address, "http://"), "--log.level=warn")
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	must(t, rig.Until(t.Context(), time.Minute, "Prometheus has data", func(ctx context.Context) (bool, error) {
		return answers(ctx, address, "errors_percent")
	}))
	return address
}

// answers says that a query of Prometheus has a result.
func answers(ctx context.Context, address, query string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return false, err
	}
	var body struct{ Data struct{ Result []any } }
	if err := json.Unmarshal(raw, &body); err != nil {
		return false, fmt.Errorf("%s: %w", raw, err)
	}
	return len(body.Data.Result) == 1, nil
}

// TestPrometheusGatesRollout lets a real Prometheus server judge the canary:
// a good version passes, a bad one stops there although it is Healthy, and goes
// on after a retry once the metric is good again.
func TestPrometheusGatesRollout(t *testing.T) {
	e := &exporter{}
	address := startPrometheus(t, e)
	p := startPayments(t)
	p.rolling(func(r *v1alpha1.RollingSync) {
		three := intstr.FromInt32(3)
		r.Steps[0].Analysis = &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{{
			Name: "errors", Interval: "1s", Count: &three, SuccessCondition: "result[0] < 5",
			Provider: v1alpha1.AnalysisProvider{Prometheus: &v1alpha1.PrometheusProvider{Address: address, Query: `max(errors_percent{service="payment"})`}},
		}}}
	})
	id := p.push()
	settle(t, p.r, id, time.Minute)
	p.ordered(p.tag())
	p.until("three good measurements are shown", func(s *v1alpha1.ApplicationSet, _ records) bool {
		a := s.Status.Rollout.Steps[0].Analysis
		return len(a) == 1 && a[0].Successful == 3 && a[0].Failed == 0 && strings.Trim(a[0].Value, "[]") == "0"
	})

	e.errors.Store(40)
	must(t, rig.Until(t.Context(), 20*time.Second, "Prometheus has seen the errors", func(ctx context.Context) (bool, error) {
		return answers(ctx, address, "errors_percent == 40")
	}))
	id = p.push()
	p.halted("AnalysisFailed", 1)
	p.until("the canary itself is Healthy", func(_ *v1alpha1.ApplicationSet, r records) bool { return r["c"].Status == "Healthy" })
	p.reached(p.tag(), "c")

	e.errors.Store(1)
	must(t, rig.Until(t.Context(), 20*time.Second, "Prometheus has seen the recovery", func(ctx context.Context) (bool, error) {
		return answers(ctx, address, "errors_percent == 1")
	}))
	set, err := p.set(t.Context())
	must(t, err)
	p.annotate("retry-rollout", fmt.Sprint(set.Status.Rollout.ID))
	settle(t, p.r, id, time.Minute)
	p.ordered(p.tag())
}
