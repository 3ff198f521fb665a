// Package fleet runs the fleet binary: real Kubernetes clusters on this
// machine, for tests, demo and benchmarks. It imports nothing of the fleet
// module and knows only its command line and its JSON.
package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options of a fleet.
type Options struct {
	// Bin is the fleet binary, Dir its folder.
	Bin, Dir string
	// Clusters in the form of fleet up --clusters.
	Clusters string
	// Progress receives lines for people; nil drops them.
	Progress io.Writer
	// Args are added to fleet up.
	Args []string
}

// Fleet is a running fleet.
type Fleet struct {
	bin, dir string
	// ReadySeconds and MiB are what the fleet measured of itself: time until
	// all clusters were ready, memory per cluster.
	ReadySeconds float64
	MiB          float64
	clusters     []Cluster
}

// Cluster is one running cluster.
type Cluster struct {
	Name            string            `json:"name"`
	Labels          map[string]string `json:"labels"`
	State           string            `json:"state"`
	Server          string            `json:"server"`
	Proxy           string            `json:"proxy"`
	Kubeconfig      string            `json:"kubeconfig"`
	ProxyKubeconfig string            `json:"proxyKubeconfig"`
	AuditLog        string            `json:"auditLog"`
}

// Up starts a fleet and returns when all clusters are ready.
func Up(ctx context.Context, o Options) (*Fleet, error) {
	args := append([]string{"up", "--detach", "--dir", o.Dir, "--clusters", o.Clusters, "-o", "json"}, o.Args...)
	cmd := exec.CommandContext(ctx, o.Bin, args...)
	var out, problem bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = &problem
	if o.Progress != nil {
		cmd.Stderr = io.MultiWriter(&problem, o.Progress)
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("fleet up: %w: %s", err, strings.TrimSpace(problem.String()))
	}
	var state struct {
		Clusters     []Cluster `json:"clusters"`
		ReadySeconds float64   `json:"readySeconds"`
		MiB          float64   `json:"mibPerCluster"`
	}
	if err := json.Unmarshal(out.Bytes(), &state); err != nil {
		return nil, fmt.Errorf("fleet up: %w", err)
	}
	return &Fleet{bin: o.Bin, dir: o.Dir, ReadySeconds: state.ReadySeconds, MiB: state.MiB, clusters: state.Clusters}, nil
}

// Run executes a verb of the fleet binary, for example "pause", "eu-1".
func (f *Fleet) Run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, f.bin, append(args, "--dir", f.dir)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fleet %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Down stops the fleet and removes its files.
func (f *Fleet) Down(ctx context.Context) error { return f.Run(ctx, "down") }

// Clusters lists all clusters in the order they were asked for.
func (f *Fleet) Clusters() []Cluster { return f.clusters }

// Cluster finds a cluster by name.
func (f *Fleet) Cluster(name string) (Cluster, error) {
	for _, c := range f.clusters {
		if c.Name == name {
			return c, nil
		}
	}
	return Cluster{}, fmt.Errorf("no cluster %s in the fleet", name)
}

// Config connects to the cluster as its administrator.
func (c Cluster) Config() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	cfg.QPS = -1
	return cfg, nil
}

// Credentials is the JSON under the key "config" of a cluster Secret.
func (c Cluster) Credentials() ([]byte, error) {
	cfg, err := c.Config()
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"tlsClientConfig": map[string]any{
		"caData": cfg.CAData, "certData": cfg.CertData, "keyData": cfg.KeyData,
	}})
}

// Audit is one line of an audit log.
type Audit struct {
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	User      struct {
		Username string `json:"username"`
	} `json:"user"`
	// Impersonated is on whose behalf the request was made.
	Impersonated struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	URI       string `json:"requestURI"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject json.RawMessage `json:"requestObject"`
	Received      time.Time       `json:"requestReceivedTimestamp"`
	Done          time.Time       `json:"stageTimestamp"`
}

// Write says that the request changed something: no read and no dry run.
func (a Audit) Write() bool {
	switch a.Verb {
	case "get", "list", "watch":
		return false
	}
	return !strings.Contains(a.URI, "dryRun=") && a.ResponseStatus.Code < 300
}

// AuditLines reads the whole audit log of the cluster.
func (c Cluster) AuditLines() ([]Audit, error) {
	file, err := os.Open(c.AuditLog)
	if err != nil {
		return nil, fmt.Errorf("audit log of %s: %w", c.Name, err)
	}
	defer file.Close()
	var out []Audit
	reader := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil // the last line may still be being written
		}
		if err != nil {
			return nil, fmt.Errorf("audit log of %s: %w", c.Name, err)
		}
		var a Audit
		if json.Unmarshal(line, &a) == nil {
			out = append(out, a)
		}
	}
}
