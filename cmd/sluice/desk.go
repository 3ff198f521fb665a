package main

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/controller/steer"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/applicationset"
)

// deskParts are what people look at rollouts with in a process that advances
// none.
type deskParts struct {
	reader   client.Reader
	client   client.Client
	params   map[string]string
	log      *slog.Logger
	registry prometheus.Registerer
}

// openDesk lets people look at rollouts and steer them from a process of its
// own: where they stand is stored on the hub, and what is asked is written
// there. Only plans need the process that renders.
func (r *reach) openDesk(p deskParts) {
	gate := true
	if b, err := strconv.ParseBool(p.params[gateParams[gateFlag]]); err == nil {
		gate = b
	}
	r.desk.set(steer.New(steer.Options{
		Reader: p.reader, Client: p.client, Facts: advance.Facts{Gate: gate, Clock: clock.RealClock{}},
		Log: p.log.With("component", "rollout"), Registerer: p.registry,
	}))
}

// planning is the desk of this process, with the plans of the one that
// renders. What people ask is written by this process: a rollout can be paused
// while no controller answers.
type planning struct {
	applicationset.Desk
	plans applicationset.Desk
}

// Plan says what a rollout of a saved set would do now.
func (d planning) Plan(ctx context.Context, key types.NamespacedName) (*rollout.Plan, error) {
	return d.plans.Plan(ctx, key)
}

// PlanOf says what a rollout of a manifest would do.
func (d planning) PlanOf(ctx context.Context, set *v1alpha1.ApplicationSet) (*rollout.Plan, error) {
	return d.plans.PlanOf(ctx, set)
}
