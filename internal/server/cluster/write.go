package cluster

import (
	"context"
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// CreateRequest registers a cluster.
type CreateRequest struct {
	Cluster Given `json:"cluster" body:"*"`
	Upsert  bool  `json:"upsert,omitempty" query:"upsert"`
}

// UpdateRequest changes a cluster; without UpdatedFields all of it.
type UpdateRequest struct {
	Query
	Cluster       Given    `json:"cluster" body:"*"`
	UpdatedFields []string `json:"updatedFields,omitempty" query:"updatedFields"`
}

// allowedCommands of argocd-cmd-params-cm names the programs, besides
// argocd-k8s-auth, that the credentials of a cluster may run.
const allowedCommands = "server.cluster.exec.commands"

// check says whether a cluster may be as it is given.
func (s *Service) check(g *Given) error {
	g.Server = strings.TrimRight(g.Server, "/")
	u, err := url.Parse(g.Server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return fault.New(fault.InvalidArgument, "server is no URL like https://host:6443")
	}
	if g.Name == "" {
		g.Name = g.Server
	}
	if g.Config.TLSClientConfig.Insecure && len(g.Config.TLSClientConfig.CAData) > 0 {
		return fault.New(fault.InvalidArgument, "config.tlsClientConfig: insecure and caData exclude one another")
	}
	if len(g.Config.ExecProviderConfig) > 0 && string(g.Config.ExecProviderConfig) != "null" {
		var exec struct {
			Command string `json:"command"`
		}
		if err := json.Unmarshal(g.Config.ExecProviderConfig, &exec); err != nil || exec.Command == "" {
			return fault.New(fault.InvalidArgument, "config.execProviderConfig names no command")
		}
		allowed := append([]string{"argocd-k8s-auth"}, strings.Split(s.Hub.Config("argocd-cmd-params-cm")[allowedCommands], ",")...)
		if !slices.Contains(allowed, exec.Command) {
			return fault.New(fault.InvalidArgument, "config.execProviderConfig.command %q would run on the server: allow it with %s in argocd-cmd-params-cm", exec.Command, allowedCommands)
		}
	}
	for key := range g.Labels {
		if strings.HasPrefix(key, "argocd.argoproj.io/secret-type") {
			return fault.New(fault.InvalidArgument, "label %s cannot be set here", key)
		}
	}
	return s.permits(g.Project)
}

func (g *Given) config() ([]byte, error) { return json.Marshal(g.Config) }

// reach connects to the cluster as it is given.
func (s *Service) reach(ctx context.Context, g *Given) (string, error) {
	raw, err := g.config()
	if err != nil {
		return "", err
	}
	version, err := s.Probe(ctx, destination.Cluster{Name: g.Name, Server: g.Server, Config: raw})
	if err != nil {
		return "", fault.Hide(err, fault.InvalidArgument, "cluster "+g.Server+" cannot be reached with these credentials")
	}
	return version, nil
}

// same says that the cluster is declared as it is given, so that declaring it
// again changes nothing (spec/cli.md §4).
func (e entry) same(g *Given) bool {
	given, err := g.config()
	if err != nil {
		return false
	}
	var a, b any
	if json.Unmarshal(given, &a) != nil || json.Unmarshal(e.secret.Data["config"], &b) != nil || !reflect.DeepEqual(a, b) {
		return false
	}
	for k, v := range g.Labels {
		if e.secret.Labels[k] != v {
			return false
		}
	}
	for k, v := range g.Annotations {
		if e.secret.Annotations[k] != v {
			return false
		}
	}
	return e.Name == g.Name && e.Project == g.Project && e.ClusterResources == g.ClusterResources && slices.Equal(e.Namespaces, g.Namespaces) &&
		(g.Shard == nil || strconv.FormatInt(*g.Shard, 10) == string(e.secret.Data["shard"]))
}

// Create registers a cluster after connecting to it.
func (s *Service) Create(ctx context.Context, c *route.Call, q *CreateRequest) (*Cluster, error) {
	g := &q.Cluster
	if err := c.Must(access.Request{Resource: "clusters", Action: "create", Object: Object(g.Project, strings.TrimRight(g.Server, "/"))}); err != nil {
		return nil, fault.New(fault.PermissionDenied, "permission denied while creating cluster: %w", err)
	}
	if err := s.check(g); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(s.entries(), func(e entry) bool { return e.Server == g.Server && e.secret != nil })
	if at >= 0 {
		e := s.entries()[at]
		if !q.Upsert && e.same(g) && c.Can(access.Request{Resource: "clusters", Action: "get", Object: e.object()}) {
			out := s.shown(e)
			return &out, nil
		}
		if !q.Upsert {
			return nil, fault.New(fault.InvalidArgument, "existing cluster spec is different, use upsert flag to force update")
		}
		if !c.Can(access.Request{Resource: "clusters", Action: "update", Object: e.object()}) {
			return nil, route.Hidden()
		}
		return s.replace(ctx, c, e, g, nil)
	}
	version, err := s.reach(ctx, g)
	if err != nil {
		return nil, err
	}
	config, err := g.config()
	if err != nil {
		return nil, err
	}
	data := map[string]string{"name": g.Name, "server": g.Server, "config": string(config), "namespaces": strings.Join(g.Namespaces, ","), "project": g.Project}
	if g.ClusterResources {
		data["clusterResources"] = "true"
	}
	if g.Shard != nil {
		data["shard"] = strconv.FormatInt(*g.Shard, 10)
	}
	secret, err := s.Hub.Declare(ctx, reference.ClusterSecretName(g.Server), secretType, data)
	if err != nil {
		return nil, err
	}
	if len(g.Labels)+len(g.Annotations) > 0 {
		if secret, err = s.dress(ctx, secret, g); err != nil {
			return nil, err
		}
	}
	c.Did(route.Act{Reason: "ResourceCreated", Message: "created cluster " + g.Server})
	out := s.shown(entryOf(secret))
	out.ServerVersion = version
	out.ConnectionState.Status = "Successful"
	out.Info.ConnectionState, out.Info.ServerVersion = out.ConnectionState, version
	return &out, nil
}

func (s *Service) dress(ctx context.Context, secret *corev1.Secret, g *Given) (*corev1.Secret, error) {
	labels, err := store.Relabel(secret.Labels, g.Labels)
	if err != nil {
		return nil, err
	}
	annotations, err := store.Relabel(secret.Annotations, g.Annotations)
	if err != nil {
		return nil, err
	}
	return s.Hub.Redeclare(ctx, secret, func(next *corev1.Secret) { next.Labels, next.Annotations = labels, annotations })
}

// entryOf reads a Secret that was just written, before the settings have it.
func entryOf(secret *corev1.Secret) entry {
	text := func(key string) string { return string(secret.Data[key]) }
	e := entry{secret: secret, Cluster: destination.Cluster{
		Name: text("name"), Server: text("server"), Project: text("project"), ClusterResources: text("clusterResources") == "true",
		Labels: secret.Labels, Annotations: secret.Annotations, Config: secret.Data["config"], SecretName: secret.Name,
	}}
	if n := text("namespaces"); n != "" {
		e.Namespaces = strings.Split(n, ",")
	}
	return e
}

// Update changes a cluster, who moves it to another project needs rights there.
func (s *Service) Update(ctx context.Context, c *route.Call, q *UpdateRequest) (*Cluster, error) {
	e, err := s.find(c, &q.Query, "update")
	if err != nil {
		return nil, err
	}
	if q.Cluster.Server == "" {
		q.Cluster.Server = e.Server
	}
	if strings.TrimRight(q.Cluster.Server, "/") != e.Server {
		return nil, fault.New(fault.InvalidArgument, "server of a cluster cannot be changed: register another one")
	}
	return s.replace(ctx, c, e, &q.Cluster, q.UpdatedFields)
}

// fields that a masked update may name.
var maskable = []string{"name", "namespaces", "config", "shard", "clusterResources", "labels", "annotations", "project"}

func (s *Service) replace(ctx context.Context, c *route.Call, e entry, g *Given, mask []string) (*Cluster, error) {
	if e.secret == nil {
		return nil, fault.New(fault.FailedPrecondition, "cluster %s has no Secret: register it with one", e.Name)
	}
	if len(mask) == 0 {
		mask = maskable
	}
	for _, f := range mask {
		if !slices.Contains(maskable, f) {
			return nil, fault.New(fault.InvalidArgument, "updatedFields: %q is none of %s", f, strings.Join(maskable, ", "))
		}
	}
	has := func(f string) bool { return slices.Contains(mask, f) }
	if !has("name") {
		g.Name = e.Name
	}
	if !has("project") {
		g.Project = e.Project
	}
	if err := s.check(g); err != nil {
		return nil, err
	}
	if g.Project != e.Project {
		if err := c.Must(access.Request{Resource: "clusters", Action: "update", Object: Object(g.Project, e.Server)}); err != nil {
			return nil, err
		}
	}
	if has("config") {
		if _, err := s.reach(ctx, g); err != nil {
			return nil, err
		}
	}
	labels, annotations := e.secret.Labels, e.secret.Annotations
	var err error
	if has("labels") {
		if labels, err = store.Relabel(labels, g.Labels); err != nil {
			return nil, err
		}
	}
	if has("annotations") {
		if annotations, err = store.Relabel(annotations, g.Annotations); err != nil {
			return nil, err
		}
	}
	config, err := g.config()
	if err != nil {
		return nil, err
	}
	values := map[string]string{"name": g.Name, "namespaces": strings.Join(g.Namespaces, ","), "config": string(config), "project": g.Project, "clusterResources": "", "shard": ""}
	if g.ClusterResources {
		values["clusterResources"] = "true"
	}
	if g.Shard != nil {
		values["shard"] = strconv.FormatInt(*g.Shard, 10)
	}
	secret, err := s.Hub.Redeclare(ctx, e.secret, func(next *corev1.Secret) {
		next.Labels, next.Annotations = labels, annotations
		for key, value := range values {
			if has(key) {
				next.Data[key] = []byte(value)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	c.Did(route.Act{Reason: "ResourceUpdated", Message: "updated cluster " + e.Server})
	out := s.shown(entryOf(secret))
	return &out, nil
}
