package cluster

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Rotator makes a new token for the account that a cluster is reached with.
type Rotator interface {
	// Rotate gives the new token; done ends the old one, once the new one is kept.
	Rotate(ctx context.Context, c destination.Cluster, token string) (fresh string, done func(context.Context) error, err error)
}

// RotateAuth replaces the token that a cluster is reached with.
func (s *Service) RotateAuth(ctx context.Context, c *route.Call, q *Query) (*Empty, error) {
	e, err := s.find(c, q, "update")
	if err != nil {
		return nil, err
	}
	var config map[string]json.RawMessage
	var token string
	if e.secret == nil || json.Unmarshal(e.Config, &config) != nil || json.Unmarshal(config["bearerToken"], &token) != nil || token == "" {
		return nil, fault.New(fault.FailedPrecondition, "cluster %s is not reached with a bearer token: there is nothing to rotate", e.Name)
	}
	if s.Rotator == nil {
		return nil, fault.New(fault.Unimplemented, "this server rotates no tokens")
	}
	fresh, done, err := s.Rotator.Rotate(ctx, e.Cluster, token)
	if err != nil {
		return nil, fault.Hide(err, fault.FailedPrecondition, "no new token for cluster "+e.Name+": is its token one of a service account?")
	}
	quoted, err := json.Marshal(fresh)
	if err != nil {
		return nil, err
	}
	config["bearerToken"] = quoted
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	if _, err := s.Hub.Redeclare(ctx, e.secret, func(next *corev1.Secret) { next.Data["config"] = raw }); err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceUpdated", Message: "rotated the token of cluster " + e.Server})
	if err := done(ctx); err != nil {
		s.Log.Warn("the old token of a cluster could not be deleted", "cluster", e.Name, "error", err.Error())
	}
	return &Empty{}, nil
}
