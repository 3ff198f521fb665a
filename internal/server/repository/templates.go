package repository

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// CredsQuery names a template.
type CredsQuery struct {
	URL string `json:"-" path:"url" query:"url"`
}

// CreateCredsRequest declares a template.
type CreateCredsRequest struct {
	Creds  Given `json:"creds" body:"*"`
	Upsert bool  `json:"upsert,omitempty" query:"upsert"`
}

// UpdateCredsRequest changes a template.
type UpdateCredsRequest struct {
	URL   string `json:"-" path:"url"`
	Creds Given  `json:"creds" body:"*"`
}

// template finds the longest one that covers a URL.
func (s *Service) template(kind, url string) *corev1.Secret {
	var best *corev1.Secret
	for _, secret := range s.Hub.Declared(kind) {
		if prefix := text(secret, "url"); repo.Covers(prefix, url) && (best == nil || len(prefix) > len(text(best, "url"))) {
			best = secret
		}
	}
	return best
}

func (s *Service) listCreds(_ context.Context, a *asked, q *CredsQuery) (*CredsList, error) {
	out := &CredsList{Items: []Creds{}}
	for _, secret := range s.Hub.Declared(a.family.kind) {
		url := text(secret, "url")
		if (q.URL == "" || q.URL == url) && a.Can(a.what("get", "", url)) {
			out.Items = append(out.Items, Creds{URL: repo.Redact(url)})
		}
	}
	slices.SortFunc(out.Items, func(x, y Creds) int { return cmp.Compare(x.URL, y.URL) })
	return out, nil
}

// exact finds the template of a URL when the caller may do the action.
func (s *Service) exact(a *asked, url, action string) (*corev1.Secret, error) {
	return a.may(s.find(a.family, url, "", true), action, url)
}

func (s *Service) createCreds(ctx context.Context, a *asked, q *CreateCredsRequest) (*Creds, error) {
	g := &q.Creds
	if g.Repo = cmp.Or(g.URL, g.Repo); g.Repo == "" {
		return nil, fault.New(fault.InvalidArgument, "the request names no prefix: set url")
	}
	if err := a.Must(a.what("create", "", g.Repo)); err != nil {
		return nil, err
	}
	g.Project, g.Name, g.EnableLFS, g.Depth = "", "", false, 0
	if old := s.find(a.family, g.Repo, "", true); old != nil {
		if g.same(old) {
			return &Creds{URL: repo.Redact(text(old, "url"))}, nil
		}
		if !q.Upsert {
			return nil, fault.New(fault.InvalidArgument, "existing repository credentials spec is different; use upsert flag to force update")
		}
		if err := a.Must(a.what("update", "", text(old, "url"))); err != nil {
			return nil, err
		}
		return s.writeCreds(ctx, a, old, g)
	}
	if _, err := s.Hub.Declare(ctx, name(a.family, g), a.family.kind, g.values()); apierrors.IsAlreadyExists(err) {
		return nil, fault.New(fault.AlreadyExists, "a Secret for this template exists already: look at Secret %s", name(a.family, g))
	} else if err != nil {
		return nil, err
	}
	a.Did(route.Act{Reason: "ResourceCreated", Message: "created credentials for " + repo.Redact(g.Repo)})
	return &Creds{URL: repo.Redact(g.Repo)}, nil
}

func (s *Service) writeCreds(ctx context.Context, a *asked, old *corev1.Secret, g *Given) (*Creds, error) {
	g.Project, g.Name, g.EnableLFS, g.Depth = "", "", false, 0
	if _, err := s.write(ctx, a, old, g); err != nil {
		return nil, err
	}
	return &Creds{URL: repo.Redact(g.Repo)}, nil
}

func (s *Service) updateCreds(ctx context.Context, a *asked, q *UpdateCredsRequest) (*Creds, error) {
	g := &q.Creds
	if g.Repo = cmp.Or(g.URL, g.Repo, q.URL); repo.Normalize(g.Repo) != repo.Normalize(q.URL) {
		return nil, fault.New(fault.InvalidArgument, "creds.url is not the prefix that the URL names")
	}
	old, err := s.exact(a, q.URL, "update")
	if err != nil {
		return nil, err
	}
	return s.writeCreds(ctx, a, old, g)
}

func (s *Service) removeCreds(ctx context.Context, a *asked, q *CredsQuery) (*Empty, error) {
	secret, err := s.exact(a, q.URL, "delete")
	if err != nil {
		return nil, err
	}
	if err := s.Hub.Undeclare(ctx, secret); err != nil {
		return nil, err
	}
	a.Did(route.Act{Reason: "ResourceDeleted", Message: "deleted credentials for " + repo.Redact(q.URL)})
	return &Empty{}, nil
}
