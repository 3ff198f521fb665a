package repository

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Query names a repository.
type Query struct {
	Repo         string `json:"-" path:"repo" query:"repo"`
	ForceRefresh bool   `json:"-" query:"forceRefresh"`
	AppProject   string `json:"-" query:"appProject"`
}

func (a *asked) what(action, project, url string) access.Request {
	return access.Request{Resource: a.family.resource, Action: action, Object: Object(project, url)}
}

// may gives a declaration when the caller may do the action; absent, which is
// nil, and forbidden look alike.
func (a *asked) may(secret *corev1.Secret, action, url string) (*corev1.Secret, error) {
	if secret == nil {
		a.Imitate([]string{action}, a.what(action, "", url))
		return nil, route.Hidden()
	}
	if !a.Can(a.what(action, text(secret, "project"), text(secret, "url"))) {
		return nil, route.Hidden()
	}
	return secret, nil
}

// list lists the repositories that the caller may see, by project and URL.
func (s *Service) list(ctx context.Context, a *asked, q *Query) (*List, error) {
	out := &List{Items: []Repository{}}
	for _, secret := range s.Hub.Declared(a.family.kind) {
		url, project := text(secret, "url"), text(secret, "project")
		if q.Repo != "" && repo.Normalize(q.Repo) != repo.Normalize(url) || q.AppProject != "" && project != q.AppProject {
			continue
		}
		if !a.Can(a.what("get", project, url)) {
			continue
		}
		r := s.shown(a.family, secret)
		r.ConnectionState = s.state(ctx, a.family, secret, q.ForceRefresh)
		out.Items = append(out.Items, r)
	}
	slices.SortFunc(out.Items, func(x, y Repository) int {
		return cmp.Or(cmp.Compare(x.Project, y.Project), cmp.Compare(x.Repo, y.Repo))
	})
	return out, nil
}

// state is the last answer of a repository, at most an hour old unless
// argocd-cmd-params-cm says otherwise.
func (s *Service) state(ctx context.Context, f family, secret *corev1.Secret, force bool) ConnectionState {
	key := secret.Name + "@" + secret.ResourceVersion
	now := metav1.NewTime(s.Clock.Now())
	age, err := s.Settings().ParamDuration(stateAgeKey, stateAge)
	if err != nil {
		s.Log.Warn("setting not usable", "message", err.Error())
	}
	s.mu.Lock()
	known, ok := s.states[key]
	s.mu.Unlock()
	if ok && !force && now.Sub(known.ModifiedAt.Time) < age {
		return known
	}
	state := ConnectionState{Status: "Unknown", ModifiedAt: &now}
	remotes, err := s.remotes()
	if err != nil || f.write {
		return state
	}
	r := s.Settings().Repository(text(secret, "url"), text(secret, "project"))
	if r.Invalid != "" {
		state.Status, state.Message = "Failed", "Configuration error - please check the server logs"
	} else if err := remotes.Test(ctx, r); err != nil {
		state.Status, state.Message = "Failed", "Unable to connect to repository: "+err.Error()
	} else {
		state.Status = "Successful"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.states) > maxStates {
		clear(s.states)
	}
	s.states[key] = state
	return state
}

// maxStates bounds the answers that are remembered.
const maxStates = 10_000

// get gives a repository; absent and forbidden look alike.
func (s *Service) get(ctx context.Context, a *asked, q *Query) (*Repository, error) {
	secret, err := s.named(a, q.Repo, q.AppProject, "get")
	if err != nil {
		return nil, err
	}
	r := s.shown(a.family, secret)
	r.ConnectionState = s.state(ctx, a.family, secret, q.ForceRefresh)
	return &r, nil
}

func (s *Service) named(a *asked, url, project, action string) (*corev1.Secret, error) {
	return a.may(s.find(a.family, url, project, false), action, url)
}

// CreateRequest declares a repository.
type CreateRequest struct {
	Repo   Given `json:"repo" body:"*"`
	Upsert bool  `json:"upsert,omitempty" query:"upsert"`
	// CredsOnly skips the trial of the connection.
	CredsOnly bool `json:"credsOnly,omitempty" query:"credsOnly"`
}

// create declares a repository after trying it.
func (s *Service) create(ctx context.Context, a *asked, q *CreateRequest) (*Repository, error) {
	g := &q.Repo
	if g.Repo == "" {
		g.Repo = g.URL
	}
	if err := a.Must(a.what("create", g.Project, g.Repo)); err != nil {
		return nil, err
	}
	if err := g.complete(); err != nil {
		return nil, err
	}
	if !q.CredsOnly {
		if err := s.try(ctx, a, g); err != nil {
			return nil, err
		}
	}
	if old := s.find(a.family, g.Repo, g.Project, true); old != nil {
		return s.upsert(ctx, a, old, q)
	}
	secret, err := s.Hub.Declare(ctx, name(a.family, g), a.family.kind, g.values())
	if apierrors.IsAlreadyExists(err) {
		return nil, fault.New(fault.AlreadyExists, "a Secret for this repository exists already: look at Secret %s", name(a.family, g))
	}
	if err != nil {
		return nil, err
	}
	a.Did(route.Act{Reason: "ResourceCreated", Message: "created repository " + repo.Redact(g.Repo)})
	r := s.shown(a.family, secret)
	return &r, nil
}

func (s *Service) upsert(ctx context.Context, a *asked, old *corev1.Secret, q *CreateRequest) (*Repository, error) {
	if q.Repo.same(old) {
		r := s.shown(a.family, old)
		return &r, nil
	}
	if !q.Upsert {
		return nil, fault.New(fault.InvalidArgument, "existing repository spec is different; use upsert flag to force update")
	}
	if err := a.Must(a.what("update", text(old, "project"), text(old, "url"))); err != nil {
		return nil, err
	}
	return s.write(ctx, a, old, &q.Repo)
}

// write puts what is given into a Secret.
func (s *Service) write(ctx context.Context, a *asked, old *corev1.Secret, g *Given) (*Repository, error) {
	secret, err := s.Hub.Redeclare(ctx, old, func(next *corev1.Secret) {
		for key, value := range g.values() {
			next.Data[key] = []byte(value)
		}
	})
	if err != nil {
		return nil, err
	}
	a.Did(route.Act{Reason: "ResourceUpdated", Message: "updated repository " + repo.Redact(g.Repo)})
	r := s.shown(a.family, secret)
	return &r, nil
}

// try connects with what is given, and with the credentials of a template where
// none are.
func (s *Service) try(ctx context.Context, a *asked, g *Given) error {
	if a.family.write {
		return nil // that it can be written to shows with the first push
	}
	remotes, err := s.remotes()
	if err != nil {
		return err
	}
	r := g.repository()
	known := s.Settings().Repository(g.Repo, g.Project)
	r.CAData, r.KnownHosts = known.CAData, known.KnownHosts
	if !r.HasCredentials() {
		template := s.template(reading.templates, g.Repo)
		if template != nil {
			known.Insecure, known.Type, known.EnableOCI = r.Insecure, r.Type, r.EnableOCI
			r = known
		}
	}
	if err := remotes.Test(ctx, r); err != nil {
		return fault.New(fault.InvalidArgument, "repository cannot be read: %w", err)
	}
	return nil
}

// UpdateRequest changes a repository.
type UpdateRequest struct {
	URL  string `json:"-" path:"repo"`
	Repo Given  `json:"repo" body:"*"`
}

// update changes a repository; both projects must let the caller.
func (s *Service) update(ctx context.Context, a *asked, q *UpdateRequest) (*Repository, error) {
	g := &q.Repo
	if g.Repo == "" {
		g.Repo = q.URL
	}
	if repo.Normalize(g.Repo) != repo.Normalize(q.URL) {
		return nil, fault.New(fault.InvalidArgument, "repo is not the repository that the URL names")
	}
	old, err := s.named(a, g.Repo, g.Project, "update")
	if err != nil {
		return nil, err
	}
	if err := g.complete(); err != nil {
		return nil, err
	}
	if project := text(old, "project"); project != g.Project {
		if err := a.Must(a.what("update", g.Project, g.Repo)); err != nil {
			return nil, err
		}
	}
	if err := s.try(ctx, a, g); err != nil {
		return nil, err
	}
	return s.write(ctx, a, old, g)
}

// remove forgets a repository.
func (s *Service) remove(ctx context.Context, a *asked, q *Query) (*Empty, error) {
	secret, err := s.named(a, q.Repo, q.AppProject, "delete")
	if err != nil {
		return nil, err
	}
	if err := s.Hub.Undeclare(ctx, secret); err != nil {
		return nil, err
	}
	a.Did(route.Act{Reason: "ResourceDeleted", Message: "deleted repository " + repo.Redact(q.Repo)})
	return &Empty{}, nil
}

// ValidateRequest tries a repository: its body is the URL, its query the
// credentials.
type ValidateRequest struct {
	Path string `json:"-" path:"repo"`
	Repo string `json:"repo" body:"*"`
	Given
}

// validate tries whether a repository can be read.
func (s *Service) validate(ctx context.Context, a *asked, q *ValidateRequest) (*Empty, error) {
	g := &q.Given
	if g.Repo = q.Repo; g.Repo == "" {
		g.Repo = q.Path
	}
	if err := a.Must(a.what("create", g.Project, g.Repo)); err != nil {
		return nil, err
	}
	if err := g.complete(); err != nil {
		return nil, err
	}
	if err := s.try(ctx, a, g); err != nil {
		return nil, err
	}
	return &Empty{}, nil
}

// Of lists the repositories that are scoped to a project.
func (s *Service) Of(project string) []any {
	var out []any
	for _, secret := range s.Hub.Declared(reading.kind) {
		if text(secret, "project") == project {
			out = append(out, s.shown(reading, secret))
		}
	}
	return out
}
