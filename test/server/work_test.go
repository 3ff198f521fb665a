package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server"
	"github.com/sluice-cd/sluice/internal/server/application"
)

// work counts what a request costs that takes time: questions to the policy and
// to the engine, requests to the API server of the hub.
type work struct {
	decider access.Decider
	client.Client
	decisions, engine, requests atomic.Int64
}

// Allowed counts a question.
func (w *work) Allowed(who access.Principal, what access.Request) bool {
	w.decisions.Add(1)
	return w.decider.Allowed(who, what)
}

// Get counts a request.
func (w *work) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	w.requests.Add(1)
	return w.Client.Get(ctx, key, o, opts...)
}

// List counts a request.
func (w *work) List(ctx context.Context, l client.ObjectList, opts ...client.ListOption) error {
	w.requests.Add(1)
	return w.Client.List(ctx, l, opts...)
}

// Create counts a request.
func (w *work) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	w.requests.Add(1)
	return w.Client.Create(ctx, o, opts...)
}

// Update counts a request.
func (w *work) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	w.requests.Add(1)
	return w.Client.Update(ctx, o, opts...)
}

// Patch counts a request.
func (w *work) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	w.requests.Add(1)
	return w.Client.Patch(ctx, o, p, opts...)
}

// Delete counts a request.
func (w *work) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	w.requests.Add(1)
	return w.Client.Delete(ctx, o, opts...)
}

// done is what was counted since it was asked last.
func (w *work) done() string {
	return fmt.Sprintf("%d decisions, %d questions to the engine, %d requests to the hub", w.decisions.Swap(0), w.engine.Swap(0), w.requests.Swap(0))
}

// TestAbsentAndForbiddenCostTheSame: the answer about what somebody may not see
// takes the same work as the one about what is not there, on every route that
// takes a name; so its time tells nothing (SEC-34).
func TestAbsentAndForbiddenCostTheSame(t *testing.T) {
	counted := &work{}
	w := open(t, true, func(o *server.Options) {
		counted.decider, o.Decide = o.Decide, counted
		counted.Client, o.Hub.Client = o.Hub.Client, counted
		engine := o.Engine
		o.Engine = func() application.Engine {
			counted.engine.Add(1)
			return engine()
		}
	})
	absent := strings.NewReplacer(
		"/web", "/nothing", "/fleet", "/nothing", "projects/alpha", "projects/nothing", "prod.example", "nothing.example", "git.example%2Falpha", "git.example%2Fnothing",
		`"name":"web"`, `"name":"nothing"`, `"name":"alpha"`, `"name":"nothing"`, "git.example/alpha", "git.example/nothing", "appName=web", "appName=nothing", "appProject=alpha", "appProject=nothing",
	)
	compared := 0
	for _, r := range inOrder(w.api.Table()) {
		there, body := target(t, r), bodyOf(r)
		nowhere, other := absent.Replace(there), absent.Replace(body)
		if there == nowhere && body == other {
			continue
		}
		for _, as := range []string{"nobody", "beta-dev", "fenced"} {
			status, _, _ := w.ask(t, as, r.Method, there, body)
			did := counted.done()
			again, _, answer := w.ask(t, as, r.Method, nowhere, other)
			if did2 := counted.done(); status == http.StatusForbidden && (again != status || did != did2) {
				t.Errorf("%s as %s: %s for what is forbidden, %s for what is absent (%d %s)", r.Name(), as, did, did2, again, answer)
			}
			if status == http.StatusForbidden {
				compared++
			}
		}
	}
	if compared < 100 {
		t.Errorf("only %d answers were compared", compared)
	}
}
