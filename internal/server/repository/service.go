// Package repository holds the operations on repositories and credential
// templates, those that are read and those that are written to (spec/api.md §3).
// Credentials go in and never come out: answers are built field by field.
//
//		Secret of type repository, repo-creds, repository-write, repo-write-creds
//		     ──► entry ──► Repository or Creds as answers show them
//
//	  - entry.go: Secrets and what is shown of them
//	  - repositories.go, templates.go: the operations; look.go: what is inside
package repository

import (
	"context"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Remotes asks repositories themselves. Errors hold no credential.
type Remotes interface {
	// Test says whether a repository can be read with what r holds.
	Test(ctx context.Context, r repo.Repository) error
	// Refs are the branches and tags of a Git repository.
	Refs(ctx context.Context, r repo.Repository) (branches, tags []string, err error)
	// Tags are those of an OCI repository.
	Tags(ctx context.Context, r repo.Repository) ([]string, error)
	// Charts are the charts of a Helm repository by name, with their versions.
	Charts(ctx context.Context, r repo.Repository) (map[string][]string, error)
	// Files are those of a chart, or of an OCI artifact when src names none, in
	// the version that its targetRevision means.
	Files(ctx context.Context, r repo.Repository, src v1alpha1.ApplicationSource) (tree.Tree, error)
}

// Options of a Service.
type Options struct {
	Hub      *store.Hub
	Settings func() *settings.Snapshot
	// Remotes gives nil while this process reaches none.
	Remotes func() Remotes
	// Manifests reads trees; it gives nil while there is none.
	Manifests func() manifest.Renderer
	Log       *slog.Logger
	Clock     clock.PassiveClock
}

// Service answers for repositories.
type Service struct {
	Options

	mu     sync.Mutex
	states map[string]ConnectionState
}

// stateAge is how long the answer of a repository counts, unless stateAgeKey of
// argocd-cmd-params-cm says otherwise.
const (
	stateAge    = time.Hour
	stateAgeKey = "server.connection.status.cache.expiration"
)

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o, states: map[string]ConnectionState{}} }

func (s *Service) remotes() (Remotes, error) {
	if s.Remotes != nil {
		if r := s.Remotes(); r != nil {
			return r, nil
		}
	}
	return nil, fault.New(fault.Unavailable, "this server reaches no repository: ask again, or look whether a controller runs")
}

func (s *Service) renderer() (manifest.Renderer, error) {
	if s.Manifests != nil {
		if m := s.Manifests(); m != nil {
			return m, nil
		}
	}
	return nil, fault.New(fault.Unavailable, "this server reaches no renderer: ask again, or look whether one runs")
}

// hydratorKey of argocd-cmd-params-cm switches repositories that are written to.
const hydratorKey = "hydrator.enabled"

// family is one kind of declarations: what is read or written, repositories or
// templates.
type family struct {
	// path of the routes, kind of the Secret, prefix of its name, resource in
	// policies.
	path, kind, prefix, resource string
	write                        bool
	// templates are the Secrets that lend credentials to those of the family.
	templates string
}

var (
	reading       = family{"/api/v1/repositories", "repository", "repo", "repositories", false, "repo-creds"}
	writing       = family{"/api/v1/write-repositories", "repository-write", "repo-write", "write-repositories", true, "repo-write-creds"}
	readingCreds  = family{"/api/v1/repocreds", "repo-creds", "creds", "repositories", false, ""}
	writingCreds  = family{"/api/v1/write-repocreds", "repo-write-creds", "creds-write", "write-repositories", true, ""}
	repositoryRPC = "repository.RepositoryService/"
	credsRPC      = "repocreds.RepoCredsService/"
)

// open says whether the family is switched on.
func (s *Service) open(f family) error {
	if f.write && s.Hub.Config("argocd-cmd-params-cm")[hydratorKey] != "true" {
		return fault.New(fault.Unimplemented, "the source hydrator is switched off: set %s to \"true\" in argocd-cmd-params-cm", hydratorKey)
	}
	return nil
}

// Routes are all operations on repositories and templates.
func (s *Service) Routes() route.Table {
	table := s.repositoryRoutes(reading, names{"ListRepositories", "Get", "CreateRepository", "UpdateRepository", "DeleteRepository", "ValidateAccess"})
	table = append(table, s.repositoryRoutes(writing, names{"ListWriteRepositories", "GetWrite", "CreateWriteRepository", "UpdateWriteRepository", "DeleteWriteRepository", "ValidateWriteAccess"})...)
	table = append(table, s.credsRoutes(readingCreds, "")...)
	table = append(table, s.credsRoutes(writingCreds, "Write")...)
	look := func(path, name, summary string) route.Spec {
		return route.Spec{Method: "GET", Path: reading.path + "/{repo}/" + path, RPC: repositoryRPC + name, Rule: route.Needs("repositories/get"), Summary: summary}
	}
	apps := look("apps", "ListApps", "Folders of a repository that hold something to deploy.")
	apps.Rule = apps.Rule.And("applications/create", "applications/update")
	return append(table,
		route.Unary(look("refs", "ListRefs", "Branches and tags."), s.Refs),
		route.Unary(look("oci-tags", "ListOCITags", "Tags of an OCI repository."), s.OCITags),
		route.Unary(look("helmcharts", "GetHelmCharts", "Charts of a Helm repository."), s.Charts),
		route.Unary(apps, s.Apps),
		route.Unary(route.Spec{Method: "POST", Path: reading.path + "/{repo}/appdetails", RPC: repositoryRPC + "GetAppDetails",
			Rule: route.Needs("repositories/get").And("applications/get", "applications/create"), Summary: "What a source is made of."}, s.Details),
	)
}

type names struct{ list, get, create, update, remove, validate string }

func (s *Service) repositoryRoutes(f family, n names) route.Table {
	spec := func(method, path, name, action, summary string) route.Spec {
		return route.Spec{Method: method, Path: f.path + path, RPC: repositoryRPC + name, Rule: route.Needs(f.resource + "/" + action), Summary: summary}
	}
	list := spec("GET", "", n.list, "get", "List repositories.")
	list.Rule = route.Lists(f.resource + "/get")
	create := spec("POST", "", n.create, "create", "Declare a repository.")
	create.Rule = create.Rule.And(f.resource + "/update")
	return route.Table{
		route.Unary(list, in(s, f, s.list)), route.Unary(create, in(s, f, s.create)),
		route.Unary(spec("GET", "/{repo}", n.get, "get", "Get a repository."), in(s, f, s.get)),
		route.Unary(spec("PUT", "/{repo}", n.update, "update", "Change a repository."), in(s, f, s.update)),
		route.Unary(spec("DELETE", "/{repo}", n.remove, "delete", "Forget a repository."), in(s, f, s.remove)),
		route.Unary(spec("POST", "/{repo}/validate", n.validate, "create", "Try whether a repository can be read."), in(s, f, s.validate)),
	}
}

func (s *Service) credsRoutes(f family, word string) route.Table {
	spec := func(method, path, verb, action, summary string) route.Spec {
		name := verb + word + "RepositoryCredentials"
		if verb == "List" {
			name = "List" + word + "RepositoryCredentials"
		}
		return route.Spec{Method: method, Path: f.path + path, RPC: credsRPC + name, Rule: route.Needs(f.resource + "/" + action), Summary: summary}
	}
	list := spec("GET", "", "List", "get", "List credential templates.")
	list.Rule = route.Lists(f.resource + "/get")
	create := spec("POST", "", "Create", "create", "Declare a credential template.")
	create.Rule = create.Rule.And(f.resource + "/update")
	return route.Table{
		route.Unary(list, in(s, f, s.listCreds)), route.Unary(create, in(s, f, s.createCreds)),
		route.Unary(spec("PUT", "/{url}", "Update", "update", "Change a credential template."), in(s, f, s.updateCreds)),
		route.Unary(spec("DELETE", "/{url}", "Delete", "delete", "Forget a credential template."), in(s, f, s.removeCreds)),
	}
}

// in makes a handler of a family.
func in[Q, A any](s *Service, f family, handle func(context.Context, *asked, *Q) (*A, error)) func(context.Context, *route.Call, *Q) (*A, error) {
	return func(ctx context.Context, c *route.Call, q *Q) (*A, error) {
		if err := s.open(f); err != nil {
			return nil, err
		}
		return handle(ctx, &asked{Call: c, family: f}, q)
	}
}

// asked is a call to one family.
type asked struct {
	*route.Call
	family family
}

// ConnectionState says whether a repository is reached.
type ConnectionState struct {
	Status     string       `json:"status"`
	Message    string       `json:"message"`
	ModifiedAt *metav1.Time `json:"attemptedAt"`
}

// Empty is the answer of what has none.
type Empty struct{}
