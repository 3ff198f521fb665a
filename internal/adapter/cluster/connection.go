package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
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
	"k8s.io/client-go/restmapper"

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
	mappings  map[schema.GroupVersionKind]*meta.RESTMapping
	versions  []string
	learnt    time.Time
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
	dyn, err := dynamic.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	parts, err := metadata.NewForConfigAndClient(cfg, client)
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
		fleet: f, cluster: c, ctx: ctx, cancel: cancel, discovery: disco, dynamic: dyn, metadata: parts, store: newStore(), slots: make(chan struct{}, writesAtOnce), relearnt: make(chan struct{}, 1),
		met:     make(chan struct{}),
		state:   State{Status: StatusUnknown, Message: "not connected yet", Since: f.options.Clock.Now()},
		watches: map[schema.GroupKind]*kindWatch{}, predicted: map[object.Key]prediction{},
		schemas: map[schema.GroupVersion]*published{}, mappings: map[schema.GroupVersionKind]*meta.RESTMapping{},
	}
	conn.store.tracking = f.tracking
	if before != nil {
		conn.inherit(before)
	}
	go conn.heartbeat()
	go conn.scans()
	return conn, nil
}

// inherit takes over what a connection that works knows of the same server.
func (c *Connection) inherit(before *Connection) {
	before.mu.Lock()
	defer before.mu.Unlock()
	if before.state.Status == StatusSuccessful && before.mapper != nil {
		c.state, c.mapper, c.versions, c.learnt, c.inherited = before.state, before.mapper, before.versions, before.learnt, true
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

func (c *Connection) learnOnce(ctx context.Context) error {
	c.mu.Lock()
	known := c.mapper != nil && !c.inherited
	c.mu.Unlock()
	if known {
		return nil
	}
	return c.learn(ctx)
}

// learn reads which kinds the cluster has.
func (c *Connection) learn(context.Context) error {
	groups, lists, err := c.discovery.ServerGroupsAndResources()
	if err != nil && (groups == nil || len(lists) == 0) {
		return fmt.Errorf("discovery: %w", err)
	}
	resources, err := restmapper.GetAPIGroupResources(c.discovery)
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	var versions []string
	for _, l := range lists {
		versions = append(versions, l.GroupVersion)
		for _, r := range l.APIResources {
			versions = append(versions, l.GroupVersion+"/"+r.Kind)
		}
	}
	slices.Sort(versions)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mapper = restmapper.NewDiscoveryRESTMapper(resources)
	clear(c.mappings)
	clear(c.schemas)
	c.learnt, c.inherited = c.fleet.options.Clock.Now(), false
	versions = slices.Compact(versions)
	if slices.Equal(c.versions, versions) {
		return nil // somebody asked for a kind that there is not
	}
	c.versions = versions
	select {
	case c.relearnt <- struct{}{}:
	default: // it is known already
	}
	return nil
}

// relearnPause bounds how often an unknown kind makes us ask again.
const relearnPause = time.Second

// mapping finds the resource of a kind; an unknown kind is looked for again.
func (c *Connection) mapping(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	find := func() (*meta.RESTMapping, error) {
		c.mu.Lock()
		m, known, learnt := c.mapper, c.mappings[gvk], c.learnt
		c.mu.Unlock()
		if known != nil {
			return known, nil
		}
		if m == nil {
			return nil, fmt.Errorf("cluster %s: not connected yet", c.cluster.Name)
		}
		found, err := m.RESTMapping(gvk.GroupKind(), gvk.Version)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil && learnt.Equal(c.learnt) {
			c.mappings[gvk] = found
		}
		return found, err
	}
	found, err := find()
	if err == nil || !meta.IsNoMatchError(err) {
		return found, err
	}
	c.mu.Lock()
	fresh := c.fleet.options.Clock.Since(c.learnt) < relearnPause
	c.mu.Unlock()
	if fresh {
		return nil, err
	}
	if err := c.learn(c.ctx); err != nil {
		return nil, err
	}
	return find()
}

// Scope says whether a kind is namespaced; known is false when the cluster
// does not have it.
func (c *Connection) Scope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	m, err := c.mapping(gvk)
	if err != nil {
		return true, false
	}
	return m.Scope.Name() == meta.RESTScopeNameNamespace, true
}

// Version is the version of a kind that the cluster prefers, "" when it does
// not have the kind.
func (c *Connection) Version(group, kind string) string {
	m, err := c.mapping(schema.GroupVersionKind{Group: group, Kind: kind})
	if err != nil {
		return ""
	}
	return m.GroupVersionKind.Version
}
