// Package supervisor starts the components of a fleet, watches over them and
// takes everything away again.
//
//	folder/            owned by one fleet, refused when another lives in it
//	  state.json       what runs: read by status, kubeconfig and tests
//	  control.sock     requests to the running supervisor
//	  ca.*, etcd/      shared by all clusters
//	  NAME/            kubeconfigs, keys, audit.log and logs of one cluster
//
// All clusters share one etcd through key prefixes. Children are bound to the
// supervisor: when it dies, however it dies, they die.
package supervisor

import (
	"fmt"
	"regexp"
	"strings"
)

// ClusterSpec is one cluster to start.
type ClusterSpec struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Inflight bounds concurrent requests of each sort; 0 is the default.
	Inflight int `json:"inflight,omitempty"`
}

// Options of a fleet.
type Options struct {
	Dir      string
	Clusters []ClusterSpec
	Nodes    int
	Stages   []string
	// Memory is the soft limit of each component, as GOMEMLIMIT takes it.
	Memory string
	// OwnsFolder says that the folder was made for this fleet and goes with it.
	OwnsFolder bool
	// Progress is called with a line for people.
	Progress func(string)
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// ParseClusters reads NAME[:KEY=VALUE[;KEY=VALUE]...][,NAME...].
func ParseClusters(text string) ([]ClusterSpec, error) {
	var out []ClusterSpec
	seen := map[string]bool{}
	for _, part := range strings.Split(text, ",") {
		name, labels, _ := strings.Cut(strings.TrimSpace(part), ":")
		if !nameForm.MatchString(name) {
			return nil, fmt.Errorf("cluster name %q: want lower-case letters, digits and dashes", name)
		}
		if seen[name] {
			return nil, fmt.Errorf("cluster name %q is given twice", name)
		}
		seen[name] = true
		spec := ClusterSpec{Name: name, Labels: map[string]string{}}
		for _, l := range strings.Split(labels, ";") {
			if l == "" {
				continue
			}
			k, v, ok := strings.Cut(l, "=")
			if !ok {
				return nil, fmt.Errorf("label %q of cluster %s: want key=value", l, name)
			}
			spec.Labels[k] = v
		}
		out = append(out, spec)
	}
	return out, nil
}

// State is what runs; it is stored in state.json.
type State struct {
	PID           int            `json:"pid"`
	Ready         bool           `json:"ready"`
	ReadyIn       float64        `json:"readySeconds"`
	MiB           float64        `json:"mibPerCluster"`
	Error         string         `json:"error,omitempty"`
	Clusters      []ClusterState `json:"clusters"`
	EtcdPID       int            `json:"etcdPid"`
	SupervisorLog string         `json:"log,omitempty"`
}

// ClusterState is one running cluster.
type ClusterState struct {
	ClusterSpec
	State           string         `json:"state"` // starting, ready, paused, stopped
	Server          string         `json:"server"`
	Proxy           string         `json:"proxy"`
	Kubeconfig      string         `json:"kubeconfig"`
	ProxyKubeconfig string         `json:"proxyKubeconfig"`
	AuditLog        string         `json:"auditLog"`
	Version         string         `json:"version,omitempty"`
	PIDs            map[string]int `json:"pids"`
	MiB             float64        `json:"mib"`
	Fault           string         `json:"fault,omitempty"`
}
