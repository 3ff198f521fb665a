package main

import (
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/controller/advance"
	"github.com/sluice-cd/sluice/internal/controller/steer"
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
