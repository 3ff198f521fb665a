package settings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/signature"
)

// Names of the objects that carry settings; they are read by name.
const (
	ConfigMapName     = "argocd-cm"
	ParamsName        = "argocd-cmd-params-cm"
	TLSCertsName      = "argocd-tls-certs-cm"
	SSHKnownHostsName = "argocd-ssh-known-hosts-cm"
	GPGKeysName       = "argocd-gpg-keys-cm"
)

// Values of the label argocd.argoproj.io/secret-type that are read here.
const (
	typeCluster    = "cluster"
	typeRepository = "repository"
	typeRepoCreds  = "repo-creds"
)

// Problem is a declaration that could not be used, in words for its owner.
type Problem struct {
	// Object is kind/name, for example Secret/prod-eu.
	Object string
	// Message names the key and the remedy and never holds a value.
	Message string
}

// Snapshot is everything declared at one moment.
type Snapshot struct {
	// Clusters holds the registered clusters by name, the hub included unless
	// argocd-cm sets cluster.inClusterEnabled to "false".
	Clusters destination.Clusters
	// Unusable are the cluster Secrets that could not be used, by SecretName
	// with their labels: whoever lists clusters must know that some are missing.
	Unusable destination.Clusters
	// Config is argocd-cm, Params argocd-cmd-params-cm.
	Config, Params map[string]string
	// Keys are the public keys of argocd-gpg-keys-cm, by id.
	Keys []signature.Key
	// Problems lists what could not be used.
	Problems []Problem

	globals      []policy.Global
	scoped       map[string][]string // URLs of repositories that one project alone has
	repositories []repo.Repository
	byURL        map[string][]int // positions in repositories by normalised URL
	templates    []repo.Repository
	certificates map[string]string
	knownHosts   string
}

// Parse builds a Snapshot. It is pure; the order of its arguments does not
// matter.
func Parse(secrets []*corev1.Secret, configs []*corev1.ConfigMap) *Snapshot {
	s := &Snapshot{Config: map[string]string{}, Params: map[string]string{}, certificates: map[string]string{}, byURL: map[string][]int{}, scoped: map[string][]string{}}
	for _, m := range configs {
		switch m.Name {
		case ConfigMapName:
			s.Config = m.Data
			s.addGlobals(m)
		case ParamsName:
			s.Params = m.Data
		case TLSCertsName:
			s.certificates = m.Data
		case SSHKnownHostsName:
			s.knownHosts = m.Data["ssh_known_hosts"]
		case GPGKeysName:
			s.addKeys(m)
		}
	}
	sorted := slices.Clone(secrets)
	slices.SortFunc(sorted, func(a, b *corev1.Secret) int { return strings.Compare(a.Name, b.Name) })
	for _, secret := range sorted {
		s.add(secret)
	}
	s.addHub()
	slices.SortFunc(s.Clusters, func(a, b destination.Cluster) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (s *Snapshot) add(secret *corev1.Secret) {
	switch secret.Labels[v1alpha1.LabelSecretType] {
	case typeCluster:
		s.addCluster(secret)
	case typeRepository:
		s.addRepository(secret)
	case typeRepoCreds:
		s.addTemplate(secret)
	}
}

// addKeys reads public keys; one that cannot be used hides no other.
func (s *Snapshot) addKeys(m *corev1.ConfigMap) {
	for _, id := range slices.Sorted(maps.Keys(m.Data)) {
		key, err := signature.ParseKey(id, m.Data[id])
		if err != nil {
			s.Problems = append(s.Problems, Problem{Object: "ConfigMap/" + m.Name, Message: fmt.Sprintf("key %q: %s", id, err)})
			continue
		}
		s.Keys = append(s.Keys, key)
	}
}

// addGlobals reads whose rules projects inherit.
func (s *Snapshot) addGlobals(m *corev1.ConfigMap) {
	var err error
	if s.globals, err = policy.ParseGlobals(m.Data["globalProjects"]); err != nil {
		s.Problems = append(s.Problems, Problem{Object: "ConfigMap/" + m.Name, Message: err.Error()})
	}
}

// Effective is a project with what it takes over from its repositories and
// from global projects, which find knows.
func (s *Snapshot) Effective(project *v1alpha1.AppProject, find func(name string) *v1alpha1.AppProject) *v1alpha1.AppProject {
	return policy.Effective(project, s.scoped[project.Name], s.globals, find)
}

// Globals are the global projects whose rules a project takes over.
func (s *Snapshot) Globals(project *v1alpha1.AppProject) []string {
	var out []string
	for _, g := range s.globals {
		if g.Inherits(project) {
			out = append(out, g.Project)
		}
	}
	return out
}

func (s *Snapshot) problem(secret *corev1.Secret, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{Object: "Secret/" + secret.Name, Message: fmt.Sprintf(format, args...)})
}

func (s *Snapshot) addCluster(secret *corev1.Secret) {
	text := func(key string) string { return strings.TrimSpace(string(secret.Data[key])) }
	server := strings.TrimSuffix(text("server"), "/")
	unusable := func() {
		s.Unusable = append(s.Unusable, destination.Cluster{Name: text("name"), Server: server, SecretName: secret.Name, Labels: userKeys(secret.Labels)})
	}
	if server == "" {
		unusable()
		s.problem(secret, "key \"server\" is empty: set it to the URL of the cluster's API server")
		return
	}
	if slices.ContainsFunc(s.Clusters, func(c destination.Cluster) bool { return c.Server == server }) {
		unusable()
		s.problem(secret, "key \"server\": another cluster Secret registers the same server; delete one of both")
		return
	}
	c := destination.Cluster{
		Name: text("name"), Server: server, Project: text("project"), SecretName: secret.Name,
		ClusterResources: text("clusterResources") == "true",
		Config:           secret.Data["config"],
		Labels:           userKeys(secret.Labels), Annotations: userKeys(secret.Annotations),
	}
	if c.Name == "" {
		c.Name = server
	}
	for _, n := range strings.Split(text("namespaces"), ",") {
		if n = strings.TrimSpace(n); n != "" {
			c.Namespaces = append(c.Namespaces, n)
		}
	}
	s.Clusters = append(s.Clusters, c)
}

// userKeys drops the bookkeeping keys of a cluster Secret.
func userKeys(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	for k, v := range in {
		switch k {
		case v1alpha1.LabelSecretType, corev1.LastAppliedConfigAnnotation, "managed-by":
		default:
			out[k] = v
		}
	}
	return out
}

func (s *Snapshot) addHub() {
	if s.Config["cluster.inClusterEnabled"] == "false" {
		return
	}
	for _, c := range s.Clusters {
		if c.Server == destination.InClusterServer {
			return
		}
	}
	s.Clusters = append(s.Clusters, destination.Cluster{Name: destination.InClusterName, Server: destination.InClusterServer})
}

// Duration reads a Go duration from argocd-cm; fallback when absent, and a
// Problem-worthy error when it cannot be parsed.
func (s *Snapshot) Duration(key string, fallback time.Duration) (time.Duration, error) {
	raw, ok := s.Config[key]
	if !ok || raw == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(raw)
	if err != nil {
		return fallback, fmt.Errorf("ConfigMap/%s: key %q is not a duration like \"120s\": it counts as absent", ConfigMapName, key)
	}
	return d, nil
}

// ParamDuration reads a Go duration from argocd-cmd-params-cm; fallback when
// absent, negative or not a duration, the latter two with an error.
func (s *Snapshot) ParamDuration(key string, fallback time.Duration) (time.Duration, error) {
	raw := strings.TrimSpace(s.Params[key])
	if raw == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(raw)
	if err != nil || d < 0 {
		return fallback, fmt.Errorf("ConfigMap/%s: key %q is not a duration like \"15s\": it counts as absent", ParamsName, key)
	}
	return d, nil
}

// ParamInt reads a number of zero or more from argocd-cmd-params-cm; fallback
// when absent or something else, the latter with an error.
func (s *Snapshot) ParamInt(key string, fallback int) (int, error) {
	raw := strings.TrimSpace(s.Params[key])
	if raw == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < 0 {
		return fallback, fmt.Errorf("ConfigMap/%s: key %q is not a number of zero or more: it counts as absent", ParamsName, key)
	}
	return n, nil
}
