package project

import (
	"context"
	"errors"
	"slices"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Tokens makes and ends tokens of project roles.
type Tokens interface {
	// CreateProjectToken records a token and gives it; the role exists.
	CreateProjectToken(ctx context.Context, t TokenRequest) (string, error)
	// DeleteProjectToken forgets one, by id, else by the second it was issued at.
	DeleteProjectToken(ctx context.Context, project, role, id string, issuedAt int64) error
}

// TokenRequest asks for a token of a role.
type TokenRequest struct {
	Project     string `json:"project,omitempty" path:"project"`
	Role        string `json:"role,omitempty" path:"role"`
	Description string `json:"description,omitempty"`
	// ExpiresIn is in seconds; 0 is never.
	ExpiresIn int64  `json:"expiresIn,omitempty"`
	ID        string `json:"id,omitempty"`
}

// Token is the answer of CreateToken; it is shown once.
type Token struct {
	Token string `json:"token"`
}

// role says whether the caller may handle tokens of a role: by the right to
// update the project, or as a member of one of its groups.
func (s *Service) role(c *route.Call, project, role string) (*v1alpha1.AppProject, error) {
	p, ok := s.Hub.Project(project)
	if ok {
		for _, r := range p.Spec.Roles {
			if r.Name == role && slices.ContainsFunc(r.Groups, func(g string) bool { return slices.Contains(c.Who.Groups, g) }) {
				c.Vouch()
				return p, nil
			}
		}
	}
	return s.find(c, project, "update")
}

// CreateToken makes a token of a role.
func (s *Service) CreateToken(ctx context.Context, c *route.Call, q *TokenRequest) (*Token, error) {
	p, err := s.role(c, q.Project, q.Role)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(p.Spec.Roles, func(r v1alpha1.ProjectRole) bool { return r.Name == q.Role }) {
		return nil, fault.New(fault.NotFound, "project '%s' does not have role '%s'", q.Project, q.Role)
	}
	if q.ExpiresIn < 0 {
		return nil, fault.New(fault.InvalidArgument, "expiresIn: want 0 or more seconds")
	}
	if s.Tokens == nil {
		return nil, fault.New(fault.Unimplemented, "this server makes no tokens")
	}
	token, err := s.Tokens.CreateProjectToken(ctx, *q)
	switch {
	case errors.Is(err, account.ErrTaken):
		return nil, fault.Hide(err, fault.AlreadyExists, "role "+q.Role+" has a token with this id: end it first, or choose another id")
	case errors.Is(err, account.ErrUnknown): // the project or its role went in the meantime
		return nil, fault.Hide(err, fault.NotFound, "project '"+q.Project+"' does not have role '"+q.Role+"'")
	case err != nil:
		return nil, err
	}
	c.Did(route.Act{Object: p, Reason: "ResourceCreated", Message: "created token"})
	return &Token{Token: token}, nil
}

// DeleteTokenRequest ends a token of a role.
type DeleteTokenRequest struct {
	Project string `json:"project,omitempty" path:"project"`
	Role    string `json:"role,omitempty" path:"role"`
	IAT     string `json:"iat,omitempty" path:"iat"`
	ID      string `json:"id,omitempty" query:"id"`
}

// DeleteToken ends a token of a role; one that does not exist is fine.
func (s *Service) DeleteToken(ctx context.Context, c *route.Call, q *DeleteTokenRequest) (*Empty, error) {
	p, err := s.role(c, q.Project, q.Role)
	if err != nil {
		return nil, err
	}
	at, err := seconds(q.IAT)
	if err != nil {
		return nil, err
	}
	if s.Tokens == nil {
		return &Empty{}, nil
	}
	if err := s.Tokens.DeleteProjectToken(ctx, q.Project, q.Role, q.ID, at); err != nil {
		return nil, err
	}
	c.Did(route.Act{Object: p, Reason: "ResourceDeleted", Message: "deleted token"})
	return &Empty{}, nil
}
