// Package registration is the declarative form of clusters and repositories: the
// Secrets of spec/config.md §6, as people keep them in Git, and what a cluster's
// Secret says to kubectl.
//
//   - cluster.go: a cluster ⇄ its Secret; kubeconfig.go: a cluster ─► kubeconfig
//   - repository.go: a repository ─► its Secret
package registration

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/reference"
)

// managedBy marks Secrets that the API may delete.
const (
	managedBy = "managed-by"
	byArgo    = "argocd.argoproj.io"
)

// Cluster is a target as a Secret declares it.
type Cluster struct {
	Name, Server, Project string
	// Namespaces that are managed; none is all of them.
	Namespaces       []string
	ClusterResources bool
	// Shard is a number; empty lets controllers choose.
	Shard               string
	Labels, Annotations map[string]string
	Config              destination.Credentials
}

// declaration is a Secret of a type; empty values are left out.
func declaration(name, kind string, values map[string]string) *corev1.Secret {
	s := &corev1.Secret{Type: corev1.SecretTypeOpaque, StringData: map[string]string{}}
	s.APIVersion, s.Kind, s.Name = "v1", "Secret", name
	s.Labels = map[string]string{v1alpha1.LabelSecretType: kind}
	s.Annotations = map[string]string{managedBy: byArgo}
	for k, v := range values {
		if v != "" {
			s.StringData[k] = v
		}
	}
	return s
}

// Secret declares the cluster.
func (c *Cluster) Secret() (*corev1.Secret, error) {
	config, err := json.Marshal(c.Config)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	values := map[string]string{
		"name": c.Name, "server": c.Server, "project": c.Project, "namespaces": strings.Join(c.Namespaces, ","), "shard": c.Shard, "config": string(config),
	}
	if c.ClusterResources {
		values["clusterResources"] = "true"
	}
	s := declaration(reference.ClusterSecretName(c.Server), "cluster", values)
	maps.Copy(s.Labels, c.Labels)
	maps.Copy(s.Annotations, c.Annotations)
	s.Labels[v1alpha1.LabelSecretType] = "cluster"
	return s, nil
}

// ClusterOf reads the Secret that declares a cluster. The error names the Secret
// and holds no value of it.
func ClusterOf(s *corev1.Secret) (*Cluster, error) {
	text := func(key string) string { return strings.TrimSpace(string(s.Data[key])) }
	c := &Cluster{
		Name: text("name"), Server: strings.TrimSuffix(text("server"), "/"), Project: text("project"), Shard: text("shard"), Labels: s.Labels, Annotations: s.Annotations,
	}
	c.ClusterResources, _ = strconv.ParseBool(text("clusterResources"))
	for n := range strings.SplitSeq(text("namespaces"), ",") {
		if n = strings.TrimSpace(n); n != "" {
			c.Namespaces = append(c.Namespaces, n)
		}
	}
	if c.Name == "" {
		c.Name = c.Server
	}
	if c.Server == "" {
		return c, fmt.Errorf("Secret %s: key server is empty: set it to the URL of the cluster's API server", s.Name)
	}
	if raw := s.Data["config"]; len(raw) > 0 && json.Unmarshal(raw, &c.Config) != nil {
		return c, fmt.Errorf("Secret %s: key config is no JSON of a cluster's credentials", s.Name)
	}
	return c, nil
}
