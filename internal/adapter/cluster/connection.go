package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/sluice-cd/sluice/internal/domain/destination"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// Status words of a connection.
const (
	StatusUnknown    = "Unknown"
	StatusSuccessful = "Successful"
	StatusFailed     = "Failed"
)

// State is how a connection is.
type State struct {
	Status  string
	Message string
	Since   time.Time
	Version string
}

// Connection is one target cluster.
type Connection struct {
	fleet     *Fleet
	cluster   destination.Cluster
	ctx       context.Context
	cancel    context.CancelFunc
	discovery discovery.DiscoveryInterface
	http      *http.Client
	dynamic   dynamic.Interface
	metadata  metadata.Interface
	store     *store
	surveys   surveys
	// relearnt says that the kinds are others than before.
	relearnt chan struct{}
	// slots are taken by writes on their way.
	slots chan struct{}
	// met closes with the first finding of the heartbeat.
	met chan struct{}

	mu     sync.Mutex
	state  State
	mapper meta.RESTMapper
	// mappings are answers of the mapper, which looks for each anew.
	mappings map[schema.GroupVersionKind]*meta.RESTMapping
	versions []string
	// scopes are the versions, each with the reach of its objects; told are
	// those of which others know.
	scopes []string
	told   []string
	learnt time.Time
	// edition is how the cluster marks the kinds it serves, asked for at
	// noticed.
	edition   string
	noticed   time.Time
	watches   map[schema.GroupKind]*kindWatch
	predicted map[object.Key]prediction
	schemas   map[schema.GroupVersion]*published
	// converted are live objects in other versions than they are watched in.
	converted map[versioned]*unstructured.Unstructured
	// described is the version in the gauges.
	described string
	// inherited says that the kinds are those that the connection before knew.
	inherited bool
}

// newConnection connects to a cluster; before is the connection with other
// credentials that it replaces, nil when there is none. As long as nothing else
// is known, the new one is in the state in which the old one was: Applications
// do not notice that a token or certificate was replaced in time.
func newConnection(f *Fleet, c destination.Cluster, before *Connection) (*Connection, error) {
	conn, err := connect(f, c, before)
	if err != nil {
		return nil, err
	}
	go conn.heartbeat()
	go conn.scans()
	return conn, nil
}

// connect makes a connection that does nothing by itself.
func connect(f *Fleet, c destination.Cluster, before *Connection) (*Connection, error) {
	if err := f.options.startable(c); err != nil {
		return nil, err
	}
	cfg, err := restConfig(c, f.options.Hub)
	if err != nil {
		return nil, err
	}
	client, err := clientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	bounded := limited(cfg, f.options.Budget)
	dyn, err := dynamic.NewForConfigAndClient(bounded, client)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	parts, err := metadata.NewForConfigAndClient(bounded, client)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	patient := *client
	patient.Timeout = discoveryTimeout
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(cfg, &patient)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	ctx, cancel := context.WithCancel(f.ctx)
	conn := &Connection{
		fleet: f, cluster: c, ctx: ctx, cancel: cancel, discovery: disco, http: client, dynamic: dyn, metadata: parts, store: newStore(), slots: make(chan struct{}, writesAtOnce), relearnt: make(chan struct{}, 1),
		met:     make(chan struct{}),
		state:   State{Status: StatusUnknown, Message: "not connected yet", Since: f.options.Clock.Now()},
		watches: map[schema.GroupKind]*kindWatch{}, predicted: map[object.Key]prediction{},
		schemas: map[schema.GroupVersion]*published{}, mappings: map[schema.GroupVersionKind]*meta.RESTMapping{},
	}
	conn.store.tracking = f.tracking
	if before != nil {
		conn.inherit(before)
	}
	return conn, nil
}

// inherit takes over what a connection that works knows of the same server.
func (c *Connection) inherit(before *Connection) {
	before.mu.Lock()
	defer before.mu.Unlock()
	if before.state.Status == StatusSuccessful && before.mapper != nil {
		c.state, c.mapper, c.versions, c.learnt, c.inherited = before.state, before.mapper, before.versions, before.learnt, true
		c.scopes, c.told = before.scopes, before.told
	}
}

func (c *Connection) close() {
	c.cancel()
	c.fleet.metrics.forget(c.cluster.Server)
}

func (c *Connection) changed(instance string) {
	c.fleet.tell(Change{Server: c.cluster.Server, Instance: instance})
}

// State is the newest finding of the heartbeat.
func (c *Connection) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// KubeVersion is the version the cluster reported, "" before it answered.
func (c *Connection) KubeVersion() string { return c.State().Version }

// APIVersions lists every group/version and group/version/Kind, sorted.
func (c *Connection) APIVersions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.versions
}

// heartbeat asks the API server every few seconds whether it is alive; a
// frozen one accepts connections but never answers.
func (c *Connection) heartbeat() {
	for {
		c.beat()
		timer := c.fleet.options.Clock.NewTimer(heartbeatPause)
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
	}
}

func (c *Connection) beat() {
	ctx, cancel := context.WithTimeout(c.ctx, heartbeatTimeout)
	defer cancel()
	answer := make(chan error, 1)
	version := ""
	go func() {
		v, err := c.discovery.ServerVersion()
		if err == nil {
			version = v.GitVersion
		}
		answer <- err
	}()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = fmt.Errorf("no answer for %s", heartbeatTimeout)
	}
	if c.ctx.Err() != nil {
		return
	}
	if err == nil {
		err = c.learnOnce(ctx)
	}
	c.enter(version, err)
	if err == nil {
		c.notice(ctx)
	}
}

// enter records a finding and tells when it is news.
func (c *Connection) enter(version string, err error) {
	next := State{Status: StatusSuccessful, Version: version}
	if err != nil {
		next = State{Status: StatusFailed, Message: err.Error()}
	}
	c.mu.Lock()
	if next.Version == "" {
		next.Version = c.state.Version
	}
	news := next.Status != c.state.Status
	if c.state.Status == StatusUnknown {
		close(c.met)
	}
	next.Since = c.state.Since
	if news {
		next.Since = c.fleet.options.Clock.Now()
	}
	c.state = next
	c.mu.Unlock()
	value := 0.0
	if err == nil {
		value = 1
	}
	c.describe(next.Version, value)
	if news {
		c.fleet.options.Log.Info("cluster connection", "cluster", c.cluster.Name, "status", next.Status, "message", next.Message)
		c.fleet.tell(Change{Server: c.cluster.Server})
	}
}

// noAnswer is an error of a request to a cluster that was never answered.
type noAnswer struct{ error }

// Unwrap gives the error of the connection.
func (n noAnswer) Unwrap() error { return n.error }

// Unanswered marks the error of a request to a cluster when it speaks of the
// connection only: nobody knows then whether the request was carried out.
// Others are given back as they are.
func Unanswered(err error) error {
	var broken *url.Error
	if errors.As(err, &broken) {
		return noAnswer{err}
	}
	return err
}

// Unreachable says that an error speaks of the connection, not of the request.
func Unreachable(err error) bool {
	var lost noAnswer
	return err != nil && (errors.As(err, &lost) || errors.Is(err, context.DeadlineExceeded) || utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) ||
		utilnet.IsTimeout(err) || utilnet.IsHTTP2ConnectionLost(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) || utilnet.IsProbableEOF(err))
}
