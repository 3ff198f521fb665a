package admin

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// leases are held by controllers of Applications and ApplicationSets.
var leases = []string{"58ac56fa.applicationsets.argoproj.io", "argocd-application-controller"}

// maxSkew is how far this clock may be from that of the hub.
const maxSkew = 30 * time.Second

// idle is an error when a controller runs on the hub. Under one that runs,
// ApplicationSets cannot be pruned without harm: before it lets an Application go,
// it gives automated sync back, and so brings to every cluster what a rollout held
// back from them.
func (h *hub) idle(ctx context.Context, now time.Time) error {
	for _, name := range leases {
		var l coordinationv1.Lease
		err := h.client.Get(ctx, client.ObjectKey{Namespace: h.namespace, Name: name}, &l)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("Lease %s: %w", name, err)
		}
		if held(&l, now) {
			return fail.New("stop the controllers, prune, and start them again; after a crash wait for a minute",
				"--prune while a controller runs could sync what a rollout holds back: Lease %s is held by %s: nothing was written", name, *l.Spec.HolderIdentity)
		}
	}
	return nil
}

// held says that whoever took a Lease may still be at work.
func held(l *coordinationv1.Lease, now time.Time) bool {
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil {
		return false
	}
	lasts := maxSkew
	if s := l.Spec.LeaseDurationSeconds; s != nil {
		lasts += time.Duration(*s) * time.Second
	}
	return l.Spec.RenewTime.Add(lasts).After(now)
}
