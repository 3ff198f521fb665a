// Package cluster holds the operations on registered clusters (spec/api.md §3).
// What a cluster is reached with goes in and never comes out.
package cluster

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Options of a Service.
type Options struct {
	Hub      *store.Hub
	Settings func() *settings.Snapshot
	// Probe connects to a cluster and gives its version.
	Probe func(ctx context.Context, c destination.Cluster) (version string, err error)
	// State is what a controller in this process knows of a cluster; nil, or
	// false, is nothing.
	State func(server string) (Info, bool)
	// Meet finds out how clusters are that are about to be shown; nil where State
	// knows by itself.
	Meet func(ctx context.Context, servers []string)
	// Rotator may be nil.
	Rotator Rotator
	Log     *slog.Logger
	Clock   clock.PassiveClock
}

// Service answers for clusters.
type Service struct{ Options }

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

const (
	base = "/api/v1/clusters"
	one  = base + "/{id}"
	rpc  = "cluster.ClusterService/"
	// secretType is the label of Secrets that register clusters.
	secretType = "cluster"
	// refreshAnnotation asks the controller to forget what it knows of a cluster.
	refreshAnnotation = "argocd.argoproj.io/refresh"
)

// Routes are all operations on clusters.
func (s *Service) Routes() route.Table {
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: base, RPC: rpc + "List", Rule: route.Lists("clusters/get"), Summary: "List clusters."}, s.List),
		route.Unary(route.Spec{Method: "POST", Path: base, RPC: rpc + "Create", Rule: route.Needs("clusters/create").And("clusters/update").And("clusters/get"), Summary: "Register a cluster."}, s.Create),
		route.Unary(route.Spec{Method: "GET", Path: one, RPC: rpc + "Get", Rule: route.Needs("clusters/get"), Summary: "Get a cluster."}, s.Get),
		route.Unary(route.Spec{Method: "PUT", Path: one, RPC: rpc + "Update", Rule: route.Needs("clusters/update"), Summary: "Change a cluster."}, s.Update),
		route.Unary(route.Spec{Method: "DELETE", Path: one, RPC: rpc + "Delete", Rule: route.Needs("clusters/delete"), Summary: "Forget a cluster."}, s.Delete),
		route.Unary(route.Spec{Method: "POST", Path: one + "/rotate-auth", RPC: rpc + "RotateAuth", Rule: route.Needs("clusters/update"), Summary: "Replace the token that a cluster is reached with."}, s.RotateAuth),
		route.Unary(route.Spec{Method: "POST", Path: one + "/invalidate-cache", RPC: rpc + "InvalidateCache", Rule: route.Needs("clusters/update"), Summary: "Look at a cluster anew."}, s.InvalidateCache),
	}
}

// ConnectionState says whether something is reached.
type ConnectionState struct {
	Status     string       `json:"status"`
	Message    string       `json:"message"`
	ModifiedAt *metav1.Time `json:"attemptedAt"`
}

// CacheInfo says how much of a cluster is watched.
type CacheInfo struct {
	ResourcesCount    int64        `json:"resourcesCount,omitempty"`
	APIsCount         int64        `json:"apisCount,omitempty"`
	LastCacheSyncTime *metav1.Time `json:"lastCacheSyncTime,omitempty"`
}

// Info is what is known of a cluster.
type Info struct {
	ConnectionState   ConnectionState `json:"connectionState"`
	ServerVersion     string          `json:"serverVersion,omitempty"`
	CacheInfo         CacheInfo       `json:"cacheInfo"`
	ApplicationsCount int64           `json:"applicationsCount"`
	APIVersions       []string        `json:"apiVersions,omitempty"`
}

// TLSConfig is how the certificate of a cluster is checked.
type TLSConfig struct {
	Insecure   bool   `json:"insecure"`
	ServerName string `json:"serverName,omitempty"`
	CertData   []byte `json:"certData,omitempty"`
	KeyData    []byte `json:"keyData,omitempty"`
	CAData     []byte `json:"caData,omitempty"`
}

// Credentials are how a cluster is reached; requests only.
type Credentials struct {
	Username           string          `json:"username,omitempty"`
	Password           string          `json:"password,omitempty"`
	BearerToken        string          `json:"bearerToken,omitempty"`
	TLSClientConfig    TLSConfig       `json:"tlsClientConfig"`
	AWSAuthConfig      json.RawMessage `json:"awsAuthConfig,omitempty"`
	ExecProviderConfig json.RawMessage `json:"execProviderConfig,omitempty"`
	DisableCompression bool            `json:"disableCompression,omitempty"`
	ProxyURL           string          `json:"proxyUrl,omitempty"`
}

// Given is a cluster as a request describes it.
type Given struct {
	Server           string            `json:"server"`
	Name             string            `json:"name"`
	Config           Credentials       `json:"config"`
	Namespaces       []string          `json:"namespaces,omitempty"`
	Shard            *int64            `json:"shard,omitempty"`
	ClusterResources bool              `json:"clusterResources,omitempty"`
	Project          string            `json:"project,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Annotations      map[string]string `json:"annotations,omitempty"`
}

// ShownConfig is what is told of credentials: nothing but how TLS is checked.
type ShownConfig struct {
	TLSClientConfig struct {
		Insecure bool `json:"insecure"`
	} `json:"tlsClientConfig"`
}

// Cluster is a cluster as answers show it.
type Cluster struct {
	Server             string            `json:"server"`
	Name               string            `json:"name"`
	Config             ShownConfig       `json:"config"`
	ConnectionState    ConnectionState   `json:"connectionState"`
	ServerVersion      string            `json:"serverVersion,omitempty"`
	Namespaces         []string          `json:"namespaces,omitempty"`
	RefreshRequestedAt *metav1.Time      `json:"refreshRequestedAt,omitempty"`
	Info               Info              `json:"info"`
	Shard              *int64            `json:"shard,omitempty"`
	ClusterResources   bool              `json:"clusterResources,omitempty"`
	Project            string            `json:"project,omitempty"`
	Labels             map[string]string `json:"labels,omitempty"`
	Annotations        map[string]string `json:"annotations,omitempty"`
}

// List is an answer with many clusters.
type List struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []Cluster       `json:"items"`
}

// Query names a cluster.
type Query struct {
	ID     string `json:"-" path:"id" query:"id.value"`
	IDType string `json:"-" query:"id.type"`
	Server string `json:"-" query:"server"`
	Name   string `json:"-" query:"name"`
}

// entry is a registered cluster with its Secret; the implicit hub has none.
type entry struct {
	destination.Cluster
	secret *corev1.Secret
}

// Object names a cluster in policies.
func Object(project, server string) string {
	if project == "" {
		return server
	}
	return project + "/" + server
}

func (e entry) object() string { return Object(e.Project, e.Server) }

func (s *Service) entries() []entry {
	var out []entry
	for _, c := range s.Settings().Clusters {
		e := entry{Cluster: c}
		if c.SecretName != "" {
			e.secret, _ = s.Hub.Secret(c.SecretName)
		}
		out = append(out, e)
	}
	return out
}

// shown builds the answer field by field: what is added to a cluster is not
// shown until it is added here.
func (s *Service) shown(e entry) Cluster {
	c := Cluster{
		Server: e.Server, Name: e.Name, Namespaces: e.Namespaces, ClusterResources: e.ClusterResources, Project: e.Project,
		Labels: store.Shown(e.Labels), Annotations: store.Shown(e.Annotations),
		ConnectionState: ConnectionState{Status: "Unknown"},
	}
	var config Credentials
	if json.Unmarshal(e.Config, &config) == nil {
		c.Config.TLSClientConfig.Insecure = config.TLSClientConfig.Insecure
	}
	if e.secret != nil {
		if n, err := strconv.ParseInt(string(e.secret.Data["shard"]), 10, 64); err == nil {
			c.Shard = &n
		}
		if at, err := time.Parse(time.RFC3339, e.secret.Annotations[refreshAnnotation]); err == nil {
			c.RefreshRequestedAt = &metav1.Time{Time: at}
		}
	}
	if s.State != nil {
		if info, ok := s.State(e.Server); ok {
			c.Info, c.ConnectionState, c.ServerVersion = info, info.ConnectionState, info.ServerVersion
		}
	}
	c.Info.ConnectionState = c.ConnectionState
	for _, item := range s.Hub.Apps.Snapshot().Items {
		if d := item.Object.Spec.Destination; d.Server != "" && strings.TrimRight(d.Server, "/") == e.Server || d.Name != "" && d.Name == e.Name {
			c.Info.ApplicationsCount++
		}
	}
	return c
}

// Of lists the clusters that are scoped to a project.
func (s *Service) Of(project string) []any {
	var out []any
	for _, e := range s.entries() {
		if e.Project == project {
			out = append(out, s.shown(e))
		}
	}
	return out
}

func (q *Query) fits(e entry) bool {
	server, name := q.Server, q.Name
	if q.ID != "" {
		server, name = q.named()
	}
	return (server == "" || strings.TrimRight(server, "/") == e.Server) && (name == "" || name == e.Name)
}

// named reads id.value by id.type.
func (q *Query) named() (server, name string) {
	switch q.IDType {
	case "name":
		return "", q.ID
	case "name_escaped":
		plain, err := url.QueryUnescape(q.ID)
		if err != nil {
			return "", q.ID
		}
		return "", plain
	}
	return q.ID, ""
}

// List lists the clusters that the caller may see.
func (s *Service) List(ctx context.Context, c *route.Call, q *Query) (*List, error) {
	out := &List{Items: []Cluster{}}
	var shown []entry
	for _, e := range s.entries() {
		if q.fits(e) && c.Can(access.Request{Resource: "clusters", Action: "get", Object: e.object()}) {
			shown = append(shown, e)
		}
	}
	s.meet(ctx, shown...)
	for _, e := range shown {
		out.Items = append(out.Items, s.shown(e))
	}
	slices.SortFunc(out.Items, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// find gives a cluster when the caller may do the action; absent and forbidden
// look alike.
func (s *Service) find(c *route.Call, q *Query, action string) (entry, error) {
	if q.ID == "" {
		return entry{}, fault.New(fault.InvalidArgument, "the request names no cluster")
	}
	there := false
	for _, e := range s.entries() {
		if !q.fits(e) {
			continue
		}
		if there = true; c.Can(access.Request{Resource: "clusters", Action: action, Object: e.object()}) {
			return e, nil
		}
	}
	if !there {
		c.Imitate([]string{action}, access.Request{Resource: "clusters", Object: Object("", q.ID)})
	}
	return entry{}, route.Hidden()
}

func (s *Service) meet(ctx context.Context, all ...entry) {
	if s.Meet == nil || len(all) == 0 {
		return
	}
	servers := make([]string, len(all))
	for i, e := range all {
		servers[i] = e.Server
	}
	s.Meet(ctx, servers)
}

// Get gives a cluster.
func (s *Service) Get(ctx context.Context, c *route.Call, q *Query) (*Cluster, error) {
	e, err := s.find(c, q, "get")
	if err != nil {
		return nil, err
	}
	s.meet(ctx, e)
	out := s.shown(e)
	return &out, nil
}

// Empty is the answer of what has none.
type Empty struct{}

// Delete forgets a cluster.
func (s *Service) Delete(ctx context.Context, c *route.Call, q *Query) (*Empty, error) {
	e, err := s.find(c, q, "delete")
	if err != nil {
		return nil, err
	}
	if e.secret == nil {
		return nil, fault.New(fault.FailedPrecondition, "cluster %s is the hub itself: set cluster.inClusterEnabled to \"false\" in argocd-cm to take it out", e.Name)
	}
	if err := s.Hub.Undeclare(ctx, e.secret); err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceDeleted", Message: "deleted cluster " + e.Server})
	return &Empty{}, nil
}

// InvalidateCache asks the controller to look at a cluster anew.
func (s *Service) InvalidateCache(ctx context.Context, c *route.Call, q *Query) (*Cluster, error) {
	e, err := s.find(c, q, "update")
	if err != nil {
		return nil, err
	}
	if e.secret == nil {
		return nil, fault.New(fault.FailedPrecondition, "cluster %s has no Secret to be marked: register it with one", e.Name)
	}
	now := s.Clock.Now().UTC().Format(time.RFC3339)
	if e.secret, err = s.Hub.Redeclare(ctx, e.secret, func(next *corev1.Secret) { next.Annotations[refreshAnnotation] = now }); err != nil {
		return nil, err
	}
	out := s.shown(e)
	c.Did(route.Act{Reason: "ResourceUpdated", Message: "invalidated the cache of cluster " + e.Server})
	return &out, nil
}

// permits says whether a project may be named by a cluster.
func (s *Service) permits(project string) error {
	if project == "" {
		return nil
	}
	if _, ok := s.Hub.Project(project); !ok {
		return fault.New(fault.InvalidArgument, "project %q does not exist: create it first", project)
	}
	return nil
}
