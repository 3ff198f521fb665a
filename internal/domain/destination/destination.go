// Package destination names the clusters that Applications are deployed to.
package destination

import (
	"fmt"
	"strings"
)

// InClusterServer is the address that means "the hub itself".
const (
	InClusterServer = "https://kubernetes.default.svc"
	InClusterName   = "in-cluster"
)

// Cluster is a registered cluster: a Secret of type cluster, or the hub.
type Cluster struct {
	// Name is the display name; defaults to the server.
	Name string
	// Server is the API URL without trailing slash: the identity.
	Server string
	// Namespaces restricts the connection to these namespaces (namespaced mode).
	Namespaces       []string
	ClusterResources bool
	Project          string
	Labels           map[string]string
	Annotations      map[string]string
	// Config is the JSON of the Secret's key "config": credentials. Never logged.
	Config []byte
	// SecretName is the Secret it came from; empty for the implicit hub.
	SecretName string
}

// Clusters answers by name and by server.
type Clusters []Cluster

// Resolve finds the one cluster that server or name means. Exactly one of
// both must be set; the messages are those of spec/application.md §2.2.
func (cs Clusters) Resolve(server, name string) (Cluster, error) {
	server = strings.TrimSuffix(server, "/")
	switch {
	case server != "" && name != "":
		return Cluster{}, fmt.Errorf("application destination can't have both name and server defined: %s %s", name, server)
	case server == "" && name == "":
		return Cluster{}, fmt.Errorf("Destination server missing from app spec") //nolint:staticcheck // byte-identical to what tools match on
	case server != "":
		for _, c := range cs {
			if c.Server == server {
				return c, nil
			}
		}
		return Cluster{}, fmt.Errorf("cluster %q is not registered: create a Secret with label argocd.argoproj.io/secret-type=cluster and this server, or correct spec.destination.server", server)
	}
	var found []Cluster
	for _, c := range cs {
		if c.Name == name {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return Cluster{}, fmt.Errorf("there are no clusters with this name: %s", name)
	case 1:
		return found[0], nil
	}
	servers := make([]string, len(found))
	for i, c := range found {
		servers[i] = c.Server
	}
	return Cluster{}, fmt.Errorf("there are %d clusters with the same name: [%s]", len(found), strings.Join(servers, " "))
}
