package transport

import (
	"encoding/json"
	"errors"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Roles of components in certificates.
const (
	RoleRepoServer = "repo-server"
	RoleController = "application-controller"
	RoleAppSets    = "applicationset-controller"
	RoleServer     = "server"
)

// Callers are the roles that may call a repo-server.
var Callers = []string{RoleController, RoleAppSets, RoleServer}

// The methods.
const (
	pathResolve  = "/v1/resolve"
	pathGenerate = "/v1/generate"
	pathUpload   = "/v1/generate/uploaded"
	pathDecide   = "/v1/decide"
	pathKeep     = "/v1/keep"
	pathVerify   = "/v1/verify"
	pathDescribe = "/v1/describe"
	pathWatch    = "/v1/watch"
	pathOpen     = "/v1/tree/open"
	pathRead     = "/v1/tree/read"
)

// Limits of what travels: a request, and an answer.
const (
	maxRequest = 16 << 20
	maxAnswer  = 512 << 20
)

type resolveRequest struct {
	Project string                     `json:"project"`
	Source  v1alpha1.ApplicationSource `json:"source"`
	Fresh   bool                       `json:"fresh,omitempty"`
}

type resolveAnswer struct {
	Revision string `json:"revision"`
}

type describeRequest struct {
	Project  string                     `json:"project"`
	Source   v1alpha1.ApplicationSource `json:"source"`
	Revision string                     `json:"revision"`
}

type verifyRequest struct {
	Project   *v1alpha1.AppProject         `json:"project"`
	Sources   []v1alpha1.ApplicationSource `json:"sources"`
	Revisions []string                     `json:"revisions"`
}

type generateRequest struct {
	Query     manifest.Query `json:"query"`
	Revisions []string       `json:"revisions"`
}

type decideAnswer struct {
	Digest string `json:"digest"`
	Known  bool   `json:"known"`
}

type keepRequest struct {
	Holder string                `json:"holder"`
	Past   []manifest.Deployment `json:"past"`
}

type generateAnswer struct {
	Warnings    []string        `json:"warnings,omitempty"`
	Objects     json.RawMessage `json:"objects"`
	Revisions   []string        `json:"revisions"`
	SourceTypes []string        `json:"sourceTypes"`
	Digest      string          `json:"digest"`
}

type openRequest struct {
	Project  string `json:"project"`
	URL      string `json:"url"`
	Revision string `json:"revision"`
	Fresh    bool   `json:"fresh,omitempty"`
}

// readRequest asks one question about a tree that was opened.
type readRequest struct {
	openRequest
	Op   string `json:"op"`
	Path string `json:"path"`
}

// Questions about a tree.
const (
	opStat = "stat"
	opFile = "file"
	opDir  = "dir"
)

type readAnswer struct {
	Entry   tree.Entry   `json:"entry"`
	Entries []tree.Entry `json:"entries,omitempty"`
	Content []byte       `json:"content,omitempty"`
}

// failure is an answer that says why there is none.
type failure struct {
	Message string `json:"error"`
	Absent  bool   `json:"absent,omitempty"`
}

func (f *failure) Error() string { return f.Message }

func (f *failure) Is(target error) bool { return f.Absent && target == tree.ErrNotExist }

func asFailure(err error) *failure {
	return &failure{err.Error(), errors.Is(err, tree.ErrNotExist)}
}
