//go:build soak

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/test/rig"
)

// visibility is what people see with the commands of the articles while the
// canary of a rollout does not become ready.
var visibility = []scenario{
	{"H15 a user of the API approves in her name", approved},
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

// account makes a local user with a policy and gives a token of his.
func (p *payments) account(s *apiServer, name, policy string) string {
	p.Helper()
	patched(p.T, p.r, &corev1.ConfigMap{}, "argocd-cm", fmt.Sprintf(`{"data":{"accounts.%s":"apiKey"}}`, name))
	policies := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "argocd-rbac-cm"}}
	must(p.T, client.IgnoreAlreadyExists(p.r.Hub.Create(p.Context(), policies)))
	patched(p.T, p.r, &corev1.ConfigMap{}, policies.Name, fmt.Sprintf(`{"data":{"policy.%s.csv":%q}}`, name, policy))
	login, err := json.Marshal(map[string]string{"username": "admin", "password": string(secretOf(p.T, p.r, "argocd-initial-admin-secret").Data["password"])})
	must(p.T, err)
	admin := tokenIn(p.T, s.expect("", "POST", "/api/v1/session", string(login), 200))
	s.within(5*time.Second, admin, "/api/v1/account/"+name, 200)
	return tokenIn(p.T, s.expect(admin, "POST", "/api/v1/account/"+name+"/token", `{"id":"e2e"}`, 200))
}

// approved is played by users of a real server: what they see names the step,
// who may not approve is refused, what alice approves carries her name, and the
// hub shows it in status and event.
func approved(p *payments) {
	s := serve(p.T, p.r)
	defer s.stop()
	const object = "applicationsets, %s, default/payment-service, allow"
	alice := p.account(s, "alice", fmt.Sprintf("p, alice, "+object+"\np, alice, "+object, "get", "rollout/promote"))
	bob := p.account(s, "bob", fmt.Sprintf("p, bob, "+object, "get"))
	p.rolling(func(r *v1alpha1.RollingSync) { r.Steps[1].Approval = "Before" })
	id := p.push()
	p.phase("AwaitingApproval", id)
	path := "/api/v1/applicationsets/" + rig.SetName + "/rollout"
	var view rollout.View
	for _, token := range []string{alice, bob} {
		s.within(5*time.Second, token, path, 200) // policies take a moment
		view = rollout.View{}
		must(p.T, json.Unmarshal([]byte(s.expect(token, "GET", path, "", 200)), &view))
		if view.Summary != "step 2 (primary) waits for approval" {
			p.Errorf("the view says %q", view.Summary)
		}
	}
	i := slices.IndexFunc(view.Actions, func(a rollout.Action) bool { return a.Verb == rollout.VerbPromote })
	if i < 0 {
		p.Fatalf("the view offers %+v", view.Actions)
	}
	body := func(number int64) string {
		raw, err := json.Marshal(map[string]any{"rollout": number, "step": view.Actions[i].Ask.Step})
		must(p.T, err)
		return string(raw)
	}
	current := view.Actions[i].Ask.Rollout
	s.expect(bob, "POST", path+"/promote", body(current), 403)
	s.expect(alice, "POST", path+"/abort", body(current), 403)
	s.expect(alice, "POST", path+"/promote", body(current-1), 409)
	p.reached(p.tag(), "c")
	s.expect(alice, "POST", path+"/promote", body(current), 200)
	settle(p.T, p.r, id, time.Minute)
	p.ordered(p.tag())
	set, err := p.set(p.Context())
	must(p.T, err)
	if a := set.Status.Rollout.Steps[1].Approval; a == nil || a.State != rollout.ApprovalApproved || a.By != "alice" || a.At == nil {
		p.Errorf("the approval is %+v", a)
	}
	must(p.T, rig.Until(p.Context(), 10*time.Second, "the event names who approved", func(context.Context) (bool, error) {
		out, err := kubectl(p.T, p.r, "hub", "get", "events", "-n", rig.Namespace, "--field-selector", "reason=RolloutApproved,involvedObject.name="+rig.SetName, "-o", "jsonpath={.items[*].message}")
		if want := fmt.Sprintf("rollout %d: step 2 (primary) is approved by alice", current); err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("events %q, want %q", out, want)
		}
		return err == nil, err
	}))
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
