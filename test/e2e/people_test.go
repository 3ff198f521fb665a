//go:build soak

package e2e

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/test/rig"
)

// people do by hand what a rollout does, or something else.
var people = []scenario{
	{"I1 a person syncs a later step", func(p *payments) {
		p.push("c=never-ready")
		p.await("c", "never-ready-"+p.tag())
		p.sync("eu")
		p.until("eu is taken over", func(_ *v1alpha1.ApplicationSet, r records) bool { return r["eu"].Status == "Healthy" })
		p.reached(p.tag(), "eu")
	}},
	{"I4 without automated sync a person syncs, and it shows", func(p *payments) {
		p.configure(func(s *v1alpha1.ApplicationSet) { s.Spec.Template.Spec.SyncPolicy.Automated = nil })
		p.push()
		p.condition(v1alpha1.AppSetManualSync, "AutomatedSyncDisabled")
		p.until("the canary waits for a person", func(_ *v1alpha1.ApplicationSet, r records) bool { return r["c"].Reason == "ManualSyncRequired" })
		p.reached(p.tag())
	}},
	{"I8 drift after a rollout is healed", func(p *payments) {
		if out, err := kubectl(p.T, p.r, short["w"], "scale", "deployment", rig.PaymentName, "-n", "payments", "--replicas", "5"); err != nil {
			p.Fatalf("%v: %s", err, out)
		}
		prints(p.T, p.r, short["w"], "2", "get", "deployment", rig.PaymentName, "-n", "payments", "-o", "jsonpath={.spec.replicas}")
	}},
	{"F16 rollout-skip takes a cluster out of the gate", func(p *payments) {
		p.push("c=never-ready")
		p.await("c", "never-ready-"+p.tag())
		skip := func(value string) {
			app, err := get(p.Context(), p.r, short["c"]+"-payment-service")
			must(p.T, err)
			patch := fmt.Sprintf(`{"metadata":{"annotations":{"argocd.argoproj.io/rollout-skip":%s}}}`, value)
			must(p.T, p.r.Hub.Patch(p.Context(), app, client.RawPatch(types.MergePatchType, []byte(patch))))
		}
		skip(`"true"`)
		p.await("eu", p.tag())
		skip("null")
	}},
	{"a hold ends when a rollout takes the Application over", func(p *payments) {
		old := p.push()
		settle(p.T, p.r, old, time.Minute)
		oldTag := p.tag()
		id := p.push()
		settle(p.T, p.r, id, time.Minute)
		member := func(what string, ok func(*v1alpha1.Application) bool) *v1alpha1.Application {
			var app *v1alpha1.Application
			must(p.T, rig.Until(p.Context(), 30*time.Second, what, func(ctx context.Context) (found bool, err error) {
				app, err = get(ctx, p.r, short["eu"]+"-payment-service")
				return err == nil && ok(app), err
			}))
			return app
		}
		p.configure(func(s *v1alpha1.ApplicationSet) { s.Spec.Strategy = nil })
		app := member("eu syncs by itself", func(a *v1alpha1.Application) bool { return policy.Holder(a) == "" && a.Operation == nil })
		back := fmt.Sprintf(`{"operation":{"initiatedBy":{"username":"a person"},"sync":{"revision":%q}}}`, old)
		must(p.T, p.r.Hub.Patch(p.Context(), app, client.RawPatch(types.MergePatchType, []byte(back))))
		member("eu holds the old revision", func(a *v1alpha1.Application) bool {
			return a.Status.Hold != nil && slices.Equal(a.Status.Hold.Revisions, []string{old}) && slices.Equal(a.Status.Hold.Rejected, []string{id})
		})
		p.runs("eu", oldTag)
		p.configure(func(*v1alpha1.ApplicationSet) {})
		member("the rollout has it", func(a *v1alpha1.Application) bool { return policy.Holder(a) != "" && a.Status.Hold == nil })
		settle(p.T, p.r, id, time.Minute)
		p.runs("eu", p.tag())
	}},
}
