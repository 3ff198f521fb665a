//go:build soak

package e2e

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/controller/steer"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/test/rig"
)

// visibility is what people see with the commands of the articles while the
// canary of a rollout does not become ready.
var visibility = []scenario{
	{"H15 a user of the API approves in his name", approved},
	{"N1 the article's columns while a rollout runs", func(p *payments) {
		p.stuck()
		out, err := kubectl(p.T, p.r, "hub", "get", "applications", "-n", rig.Namespace, "-l", "applicationset-name=payment-service", "--no-headers",
			"-o", "custom-columns=NAME:.metadata.name,HEALTH:.status.health.status,SYNC:.status.sync.status")
		must(p.T, err)
		rows := map[string][]string{}
		for _, line := range strings.Split(out, "\n") {
			if words := strings.Fields(line); len(words) == 3 {
				rows[words[0]] = words[1:]
			}
		}
		for name, cluster := range short {
			want := []string{"Healthy", "OutOfSync"} // it runs the version before, in good health
			if name == "c" {
				want = []string{"Progressing", "Synced"}
			}
			if got := rows[cluster+"-payment-service"]; !slices.Equal(got, want) {
				p.Errorf("%s shows %v, want %v", name, got, want)
			}
		}
		if len(rows) != len(short) {
			p.Errorf("printed:\n%s", out)
		}
	}},
	{"N2 the status has the shape of the article", func(p *payments) {
		p.stuck()
		out, err := kubectl(p.T, p.r, "hub", "get", "applicationset", "payment-service", "-n", rig.Namespace, "-o", "yaml")
		must(p.T, err)
		_, status, _ := strings.Cut(out, "\nstatus:\n")
		if !strings.HasPrefix(status, "  applicationStatus:\n") || strings.Index(status, "\n  conditions:\n") > strings.Index(status, "\n  rollout:\n") {
			p.Errorf("the status does not begin with what the article shows:\n%.400s", status)
		}
		var set struct {
			Status struct {
				Conditions        []map[string]any `json:"conditions"`
				ApplicationStatus []map[string]any `json:"applicationStatus"`
			} `json:"status"`
		}
		must(p.T, yaml.Unmarshal([]byte(out), &set))
		text := func(kind string, entries []map[string]any, fields ...string) {
			for _, e := range entries {
				for _, f := range fields {
					if s, ok := e[f].(string); !ok || s == "" {
						p.Errorf("%s %v: %s is %v, want text", kind, e, f, e[f])
					}
				}
			}
		}
		text("condition", set.Status.Conditions, "lastTransitionTime", "message", "reason", "status", "type")
		text("entry", set.Status.ApplicationStatus, "application", "lastTransitionTime", "message", "status", "step")
		if len(set.Status.ApplicationStatus) != 5 {
			p.Errorf("%d entries", len(set.Status.ApplicationStatus))
		}
		want := map[string]any{"status": "True", "reason": "ApplicationSetUpToDate", "message": "ApplicationSet has successfully synced"}
		i := slices.IndexFunc(set.Status.Conditions, func(c map[string]any) bool { return c["type"] == "ResourcesUpToDate" })
		if i < 0 {
			p.Fatalf("no ResourcesUpToDate in %v", set.Status.Conditions)
		}
		for k, v := range want {
			if set.Status.Conditions[i][k] != v {
				p.Errorf("ResourcesUpToDate: %s is %v, want %v", k, set.Status.Conditions[i][k], v)
			}
		}
	}},
}

// desk looks at and steers the rollout as the server does for a user.
func (p *payments) desk() *steer.Desk {
	return steer.New(steer.Options{
		Reader: p.r.Hub, Client: p.r.Hub, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Facts: advance.Facts{Gate: true, Clock: clock.RealClock{}},
	})
}

// approved is played by a user of the API: what he sees names the step, what he
// approves carries his name, and the hub shows it.
func approved(p *payments) {
	p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].Approval = "Before" })
	id := p.push()
	p.phase("AwaitingApproval", id)
	d, key := p.desk(), types.NamespacedName{Namespace: rig.Namespace, Name: rig.SetName}
	view, err := d.View(p.Context(), key)
	must(p.T, err)
	i := slices.IndexFunc(view.Actions, func(a rollout.Action) bool { return a.Verb == rollout.VerbPromote })
	if view.Summary != "step 2 (primary) waits for approval" || i < 0 {
		p.Fatalf("the view says %q and offers %+v", view.Summary, view.Actions)
	}
	stale := view.Actions[i].Ask
	stale.Rollout--
	if _, err := d.Ask(p.Context(), key, stale, "alice@example.com"); rollout.WhyRefused(err) != rollout.Stale {
		p.Errorf("for the rollout before: %v", err)
	}
	_, err = d.Ask(p.Context(), key, view.Actions[i].Ask, "alice@example.com")
	must(p.T, err)
	settle(p.T, p.r, id, time.Minute)
	p.ordered(p.tag())
	set, err := p.set(p.Context())
	must(p.T, err)
	if a := set.Status.Rollout.Steps[1].Approval; a == nil || a.By != "alice@example.com" {
		p.Errorf("the approval is %+v", a)
	}
}

// stuck brings a version that the canary does not become ready with, and waits
// until all have noticed it.
func (p *payments) stuck() {
	p.Helper()
	id := p.push("c=never-ready")
	p.await("c", "never-ready-"+p.tag())
	p.until("all know of the version", func(s *v1alpha1.ApplicationSet, r records) bool {
		for _, cluster := range short {
			app, err := get(p.Context(), p.r, cluster+"-payment-service")
			if err != nil || app.Status.Sync.Revision != id || app.Operation != nil {
				return false
			}
		}
		return r["c"].Status == "Progressing" && s.Status.Rollout.CurrentStep == 1
	})
}
