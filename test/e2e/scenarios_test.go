//go:build soak

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/gitserver"
	"github.com/sluice-cd/sluice/test/rig"
)

type records = map[string]v1alpha1.ApplicationSetAppStatus

// TestRolloutScenarios plays scenarios of the specification, by their ids, on
// real clusters. What was written where is read from the clusters.
func TestRolloutScenarios(t *testing.T) {
	p := startPayments(t)
	for _, group := range [][]scenario{ordering, targets, failures, gating, people, configuration, visibility, disturbances} {
		for _, s := range group {
			p.scenario(s.id, s.play)
		}
	}
}

type scenario struct {
	id   string
	play func(p *payments)
}

var ordering = []scenario{
	{"C1 a commit passes the steps in order", func(p *payments) {
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
	{"C2 a canary that never becomes ready holds everything", func(p *payments) {
		p.push("c=never-ready")
		p.await("c", "never-ready-"+p.tag())
		p.until("the canary waits for health", func(_ *v1alpha1.ApplicationSet, r records) bool {
			return r["c"].Status == "Progressing" && r["e"].Status == "Waiting" && r["eu"].Status == "Waiting"
		})
		p.reached(p.tag())
	}},
	{"C9 a commit for the last step leaves the others alone", func(p *payments) {
		id := p.only("eu", "ap")
		settle(p.T, p.r, id, time.Minute)
		p.reached(p.tag(), "ap", "eu")
	}},
	{"C10 a commit that changes no manifest starts nothing", func(p *payments) {
		before, err := p.set(p.Context())
		must(p.T, err)
		id, err := p.r.Repo.Commit("readme", gitserver.Files{"README.md": "nothing"})
		must(p.T, err)
		settle(p.T, p.r, id, time.Minute)
		after, err := p.set(p.Context())
		must(p.T, err)
		if after.Status.Rollout.ID != before.Status.Rollout.ID {
			p.Errorf("rollout %d became %d", before.Status.Rollout.ID, after.Status.Rollout.ID)
		}
	}},
	{"B16 a relabelled cluster changes its step without a touch of the set", func(p *payments) {
		relabel := func(value string) {
			if out, err := kubectl(p.T, p.r, "hub", "label", "secret", short["eu"], "-n", rig.Namespace, "region="+value, "--overwrite"); err != nil {
				p.Fatalf("%v: %s", err, out)
			}
		}
		relabel("us-east-1-canary")
		defer relabel("eu-west-1")
		p.until("eu in step 1", func(_ *v1alpha1.ApplicationSet, r records) bool {
			return r["eu"].Step == "1" && r["eu"].Status == "Healthy"
		})
	}},
	{"F10 a deleted Application comes back", func(p *payments) {
		app, err := get(p.Context(), p.r, short["e"]+"-payment-service")
		must(p.T, err)
		must(p.T, p.r.Hub.Delete(p.Context(), app))
		must(p.T, rig.Until(p.Context(), 30*time.Second, "another Application of the name", func(ctx context.Context) (bool, error) {
			again, err := get(ctx, p.r, app.Name)
			return err == nil && again.UID != app.UID && again.Status.Sync.Status == "Synced", err
		}))
	}},
}

var targets = []scenario{
	{"E1 a new commit in mid-step starts over at the canary", func(p *payments) {
		p.push("e=slow", "w=slow") // long enough for the next commit to be noticed
		first := p.tag()
		p.await("e", "slow-"+first)
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
		p.reached(first, "c")
	}},
	{"E2 fix forward", func(p *payments) {
		p.push("c=crash")
		bad := "crash-" + p.tag()
		p.halted("ApplicationDegraded", 1)
		settle(p.T, p.r, p.push(), time.Minute)
		p.reached(bad, "c")
		p.ordered(p.tag())
	}},
	{"E3 revert", func(p *payments) {
		id := p.push("c=crash")
		good := fmt.Sprintf("v%d", p.n-1)
		p.halted("ApplicationDegraded", 1)
		reverted, err := p.r.Repo.Revert(id)
		must(p.T, err)
		settle(p.T, p.r, reverted, time.Minute)
		p.reached("crash-"+p.tag(), "c")
		p.runs("c", good)
	}},
	{"E4 revert after the second step broke", func(p *payments) {
		id := p.push("w=crash")
		p.halted("ApplicationDegraded", 2)
		p.reached(p.tag(), "c", "e")
		reverted, err := p.r.Repo.Revert(id)
		must(p.T, err)
		settle(p.T, p.r, reverted, time.Minute)
		p.reached(p.tag(), "c", "e")
	}},
	{"E8 with Queue the running rollout finishes first", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.OnNewTarget = "Queue" })
		p.push()
		first := p.tag()
		p.await("c", first)
		p.push()
		skipped := p.tag()
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		p.ordered(first)
		p.ordered(p.tag())
		p.reached(skipped)
	}},
	{"E11 a force push back", func(p *payments) {
		old, err := p.r.Repo.Git("rev-parse", "HEAD")
		must(p.T, err)
		settle(p.T, p.r, p.push(), time.Minute)
		_, err = p.r.Repo.Git("update-ref", "refs/heads/main", old)
		must(p.T, err)
		settle(p.T, p.r, old, time.Minute)
	}},
	{"E14 a storm of commits", func(p *payments) {
		var id string
		for range 10 {
			id = p.push()
		}
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
}

var failures = []scenario{
	{"G3 G4 a failed sync halts until a person retries", func(p *payments) {
		p.push()
		bad := strings.Replace(rig.Workload(rig.PaymentName, p.tag()), "replicas: 2", "replicas: -1", 1)
		_, err := p.r.Repo.Commit("refused by the API server", gitserver.Files{"clusters/" + short["c"] + "/web.yaml": bad})
		must(p.T, err)
		p.halted("SyncFailed", 1)
		set, err := p.set(p.Context())
		must(p.T, err)
		p.annotate("retry-rollout", fmt.Sprint(set.Status.Rollout.ID))
		p.until("a second attempt", func(s *v1alpha1.ApplicationSet, r records) bool {
			_, waiting := s.Annotations["argocd.argoproj.io/retry-rollout"]
			return !waiting && r["c"].Attempt == 2
		})
	}},
	{"G10 failures up to maxFailures are tolerated", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { one := intstr.FromInt32(1); r.Steps[1].MaxFailures = &one })
		p.push("w=crash")
		p.await("eu", p.tag())
	}},
	{"G11 onFailure Continue", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[0].OnFailure = "Continue" })
		p.push("c=crash")
		p.await("eu", p.tag())
	}},
	{"G12 manifests that cannot be rendered stop at the canary", func(p *payments) {
		p.push()
		id, err := p.r.Repo.Commit("broken", gitserver.Files{"clusters/" + short["c"] + "/web.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: [unclosed\n"})
		must(p.T, err)
		p.halted("ComparisonFailed", 1)
		p.until("the others know of the commit", func(s *v1alpha1.ApplicationSet, _ records) bool {
			return s.Status.Rollout.Target.Sources[0].Revision == id
		})
		p.reached(p.tag())
	}},
	{"a canary that would be emptied stops there", func(p *payments) {
		p.push()
		_, err := p.r.Repo.Commit("not a manifest", gitserver.Files{"clusters/" + short["c"] + "/web.yaml": "hello: world\n"})
		must(p.T, err)
		p.halted("SyncFailed", 1)
		p.reached(p.tag())
		prints(p.T, p.r, short["c"], "deployment.apps/"+rig.PaymentName, "get", "deployment", rig.PaymentName, "-n", "payments", "-o", "name")
	}},
	{"H19 step timeout", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[0].StepTimeout = "2s" })
		p.push("c=never-ready")
		p.halted("StepTimeoutExceeded", 1)
		p.reached(p.tag())
	}},
	{"H21 H22 automatic rollback, then a new commit", func(p *payments) {
		before := p.tag()
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].OnFailure = "Rollback" })
		id := p.push("w=crash")
		p.phase("RolledBack", id)
		for _, name := range []string{"c", "e", "w", "eu", "ap"} {
			p.runs(name, before)
		}
		p.reached(p.tag(), "c", "e")
		settle(p.T, p.r, p.push(), time.Minute)
		p.ordered(p.tag())
	}},
}

var gating = []scenario{
	{"H3 a commit while paused waits for the resume", func(p *payments) {
		p.annotate("pause-rollout", "true")
		id := p.push()
		p.phase("Paused", id)
		p.reached(p.tag())
		p.annotate("pause-rollout", "")
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
	{"H5 a person may sync while paused", func(p *payments) {
		p.annotate("pause-rollout", "true")
		id := p.push()
		p.phase("Paused", id)
		p.sync("eu")
		p.runs("eu", p.tag())
		p.until("eu is taken over", func(_ *v1alpha1.ApplicationSet, r records) bool { return r["eu"].Status == "Healthy" })
		p.reached(p.tag(), "eu")
	}},
	{"H7 two sources of a pause", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Paused = true })
		p.annotate("pause-rollout", "true")
		id := p.push()
		p.phase("Paused", id)
		p.annotate("pause-rollout", "")
		p.condition(v1alpha1.AppSetRolloutPaused, "PausedBySpec")
		p.reached(p.tag())
	}},
	{"H9 a closed window is a pause", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) {
			r.Windows = []v1alpha1.RolloutWindow{{Kind: "deny", Schedule: "* * * * *", Duration: "1h", Description: "freeze"}}
		})
		id := p.push()
		p.phase("Paused", id)
		p.condition(v1alpha1.AppSetRolloutPaused, "PausedByWindow")
		p.reached(p.tag())
		p.rolling(func(*v1alpha1.RollingSync) {})
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
	{"H30 a metric server that is down fails the analysis", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) {
			one := intstr.FromInt32(1)
			r.Steps[0].Analysis = &v1alpha1.StepAnalysis{Metrics: []v1alpha1.AnalysisMetric{{
				Name: "errors", Interval: "200ms", ConsecutiveErrorLimit: &one, SuccessCondition: "result[0] < 1",
				Provider: v1alpha1.AnalysisProvider{Prometheus: &v1alpha1.PrometheusProvider{Address: "http://127.0.0.1:1", Query: "up"}},
			}}}
		})
		p.push()
		p.await("c", p.tag())
		p.halted("AnalysisFailed", 1)
		p.reached(p.tag(), "c")
	}},
	{"H12 a step bakes before the next begins", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[0].BakeTime = "4s" })
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
		c, err := p.r.Fleet.Cluster(short["c"])
		must(p.T, err)
		_, ready, err := rig.Delivered(c, rig.PaymentName, p.tag()+`"`)
		must(p.T, err)
		e, err := p.r.Fleet.Cluster(short["e"])
		must(p.T, err)
		next, _, err := rig.Delivered(e, rig.PaymentName, p.tag()+`"`)
		must(p.T, err)
		if baked := next.Sub(ready); baked < 3*time.Second {
			p.Errorf("the next step began %s after the canary was ready, want at least 3 s of a bake of 4 s", baked)
		}
	}},
	{"H15 H16 approval before a step", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].Approval = "Before" })
		id := p.push()
		p.phase("AwaitingApproval", id)
		p.reached(p.tag(), "c")
		p.annotate("promote-rollout", "1/primary")
		p.until("the stale approval is removed", func(s *v1alpha1.ApplicationSet, _ records) bool {
			_, there := s.Annotations["argocd.argoproj.io/promote-rollout"]
			return !there
		})
		p.reached(p.tag(), "c")
		p.annotate("promote-rollout", "primary")
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
	{"H32 abort", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].Approval = "Before" })
		id := p.push()
		p.phase("AwaitingApproval", id)
		set, err := p.set(p.Context())
		must(p.T, err)
		p.annotate("abort-rollout", fmt.Sprint(set.Status.Rollout.ID))
		p.phase("Aborted", id)
		p.reached(p.tag(), "c")
	}},
	{"H33 dry run", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.DryRun = true })
		id := p.push()
		p.phase("DryRun", id)
		p.reached(p.tag())
		p.rolling(func(*v1alpha1.RollingSync) {})
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
}

var configuration = []scenario{
	{"A4 an unknown type rolls out at once, and says so", func(p *payments) {
		p.configure(func(s *v1alpha1.ApplicationSet) { s.Spec.Strategy.Type = "rollingSync" })
		id := p.push("c=never-ready")
		p.await("eu", p.tag())
		p.ignored("UnknownStrategyType")
		_ = id
	}},
	{"A5 no steps", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps = nil })
		p.push("c=never-ready")
		p.await("eu", p.tag())
		p.ignored("NoSteps")
	}},
	{"A6 the strategy is removed in mid-rollout", func(p *payments) {
		p.push("c=never-ready")
		p.await("c", "never-ready-"+p.tag())
		p.configure(func(s *v1alpha1.ApplicationSet) { s.Spec.Strategy = nil })
		p.await("eu", p.tag())
	}},
	{"A8 an invalid strategy holds everything", func(p *payments) {
		p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].MatchExpressions[0].Operator = "Equals" })
		p.push()
		p.halted("InvalidStrategy", 0)
		p.reached(p.tag())
		var apps v1alpha1.ApplicationList
		must(p.T, p.r.Hub.List(p.Context(), &apps, client.InNamespace(rig.Namespace)))
		for i := range apps.Items { // nor will they by themselves
			if a := apps.Items[i].Spec.SyncPolicy.Automated; a.Enabled == nil || *a.Enabled {
				p.Errorf("%s syncs by itself", apps.Items[i].Name)
			}
		}
	}},
	{"A1 A2 with the gate closed all go at once", func(p *payments) {
		p.r.Kill(syscall.SIGTERM)
		must(p.T, p.r.Launch("--enable-progressive-syncs=false"))
		p.push("c=never-ready")
		p.await("eu", p.tag())
		p.ignored("ProgressiveSyncsDisabled")
		p.r.Kill(syscall.SIGTERM)
		must(p.T, p.r.Launch())
	}},
}

// ignored waits for the condition that tells that the strategy has no effect.
func (p *payments) ignored(reason string) {
	p.Helper()
	must(p.T, rig.Until(p.Context(), 20*time.Second, "RolloutStrategyIgnored for "+reason, func(ctx context.Context) (bool, error) {
		set, err := p.set(ctx)
		return err == nil && slices.ContainsFunc(set.Status.Conditions, func(c v1alpha1.ApplicationSetCondition) bool {
			return c.Type == v1alpha1.AppSetStrategyIgnored && c.Status == "True" && c.Reason == reason
		}), err
	}))
}

var disturbances = []scenario{
	{"J14 a leader sleeps, another takes over, the first wakes", func(p *payments) {
		asleep := p.r.Detach()
		must(p.T, asleep.Signal(syscall.SIGSTOP))
		must(p.T, p.r.LaunchIn("second"))
		p.push()
		p.await("c", p.tag())
		must(p.T, asleep.Signal(syscall.SIGCONT))
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
		must(p.T, asleep.Gone(p.Context(), 20*time.Second)) // it lost its Lease and ends by itself
		p.r.Kill(syscall.SIGTERM)
		must(p.T, p.r.Launch())
	}},
	{"J16 a person annotates at every moment", func(p *payments) {
		ctx, stop := context.WithCancel(p.Context())
		done := make(chan int)
		go func() {
			n := 0
			for ctx.Err() == nil {
				if set, err := p.set(ctx); err == nil {
					n++
					_ = p.r.Hub.Patch(ctx, set, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"touched":"%d"}}}`, n)))
				}
			}
			done <- n
		}()
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		stop()
		p.Logf("annotated %d times meanwhile", <-done)
		p.ordered(p.tag())
	}},
	{"J23 the canary's API server dies and comes back", func(p *payments) {
		must(p.T, p.r.Fleet.Run(p.Context(), "stop", short["c"]))
		id := p.push()
		p.until("the canary is not known", func(s *v1alpha1.ApplicationSet, r records) bool {
			return s.Status.Rollout.CurrentStep == 1 && s.Status.Rollout.Target.Sources[0].Revision == id
		})
		p.reached(p.tag())
		must(p.T, p.r.Fleet.Run(p.Context(), "start", short["c"]))
		settle(p.T, p.r, id, 90*time.Second)
		p.ordered(p.tag())
	}},
	{"G18 a frozen cluster holds its step only", func(p *payments) {
		must(p.T, p.r.Fleet.Run(p.Context(), "pause", short["w"]))
		id := p.push()
		p.await("e", p.tag())
		p.reached(p.tag(), "c", "e")
		must(p.T, p.r.Fleet.Run(p.Context(), "resume", short["w"]))
		settle(p.T, p.r, id, 90*time.Second)
		p.ordered(p.tag())
	}},
	{"J25 restarted again and again", func(p *payments) {
		id := p.push()
		for _, name := range []string{"c", "e", "eu"} {
			p.await(name, p.tag())
			p.r.Kill(syscall.SIGKILL)
			must(p.T, p.r.Launch())
		}
		settle(p.T, p.r, id, time.Minute)
		p.ordered(p.tag())
	}},
}
