package client

import (
	"context"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// Rollout says where the rollout of a set stands.
func (c *Client) Rollout(ctx context.Context, namespace, name string) (*rollout.View, error) {
	var out rollout.View
	return &out, c.do(ctx, call{method: "GET", path: at(setsPath, name) + "/rollout", query: SetQuery{Namespace: namespace}.values()}, &out)
}

// RolloutPlan says what a rollout of a saved set would do now.
func (c *Client) RolloutPlan(ctx context.Context, namespace, name string) (*rollout.Plan, error) {
	var out rollout.Plan
	return &out, c.do(ctx, call{method: "GET", path: at(setsPath, name) + "/rollout/plan", query: SetQuery{Namespace: namespace}.values()}, &out)
}

// RolloutPlanOf says what a rollout of a manifest would do, which need not be
// saved.
func (c *Client) RolloutPlanOf(ctx context.Context, s *v1alpha1.ApplicationSet) (*rollout.Plan, error) {
	var out rollout.Plan
	return &out, c.do(ctx, call{method: "POST", path: at(setsPath, s.Name) + "/rollout/plan", body: map[string]any{"applicationSet": s}}, &out)
}

// Steer asks something of a rollout; the note says what may not be expected.
func (c *Client) Steer(ctx context.Context, namespace, name string, ask rollout.Ask) (note string, err error) {
	var out struct {
		Note string `json:"note"`
	}
	body := map[string]any{"rollout": ask.Rollout, "step": ask.Step, "reason": ask.Reason, "name": name}
	if namespace != "" {
		body["appsetNamespace"] = namespace
	}
	err = c.do(ctx, call{method: "POST", path: at(setsPath, name, "rollout", string(ask.Verb)), body: body}, &out)
	return out.Note, err
}
