package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/restmapper"
)

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
	var versions, scopes []string
	for _, l := range lists {
		versions = append(versions, l.GroupVersion)
		for _, r := range l.APIResources {
			kind := l.GroupVersion + "/" + r.Kind
			versions, scopes = append(versions, kind), append(scopes, fmt.Sprintf("%s %t", kind, r.Namespaced))
		}
	}
	slices.Sort(versions)
	slices.Sort(scopes)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mapper = restmapper.NewDiscoveryRESTMapper(resources)
	clear(c.mappings)
	clear(c.schemas)
	c.learnt, c.inherited = c.fleet.options.Clock.Now(), false
	if slices.Equal(c.scopes, scopes) {
		return nil // somebody asked for a kind that there is not
	}
	c.versions, c.scopes = slices.Compact(versions), scopes
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

const (
	// noticePause is how often the cluster is asked whether its kinds are others.
	noticePause = 10 * time.Second
	// aggregated asks for all kinds of all groups in one document, which has a
	// mark by which it is known again.
	aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
)

// notice learns the kinds anew when a definition came, went or changed that
// nobody here applied, and tells all who may render or compare otherwise when
// they are others than at the last time, whoever has learnt them.
// Asking costs the API server next to nothing while nothing changed. Clusters
// that give no marks (Kubernetes before 1.26) are left to mapping.
func (c *Connection) notice(ctx context.Context) {
	now := c.fleet.options.Clock.Now()
	c.mu.Lock()
	before, due := c.edition, now.Sub(c.noticed) >= noticePause
	if due {
		c.noticed = now
	}
	c.mu.Unlock()
	if !due {
		return
	}
	edition, err := c.newestEdition(ctx, before)
	if err == nil && before != "" && edition != before {
		err = c.learn(ctx)
	}
	if err != nil {
		c.fleet.options.Log.Debug("not known whether kinds are others", "cluster", c.cluster.Name, "error", err.Error())
		edition = before
	}
	c.mu.Lock()
	c.edition = edition
	news := c.told != nil && !slices.Equal(c.told, c.scopes)
	c.told = c.scopes
	c.mu.Unlock()
	if news {
		c.fleet.options.Log.Info("kinds changed", "cluster", c.cluster.Name)
		c.fleet.tell(Change{Server: c.cluster.Server})
	}
}

// newestEdition gives the mark of the kinds that the cluster serves; it is not
// sent what is known already.
func (c *Connection) newestEdition(ctx context.Context, known string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.discovery.RESTClient().Get().AbsPath("/apis").URL().String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", aggregated)
	if known != "" {
		req.Header.Set("If-None-Match", known)
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }() // the body is not read
	switch answer.StatusCode {
	case http.StatusNotModified:
		return known, nil
	case http.StatusOK:
		return answer.Header.Get("ETag"), nil
	}
	return "", fmt.Errorf("GET /apis: %s", answer.Status)
}
