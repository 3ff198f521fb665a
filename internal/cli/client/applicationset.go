package client

import (
	"context"
	"net/url"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

const setsPath = "/api/v1/applicationsets"

// SetQuery selects ApplicationSets.
type SetQuery struct {
	Name, Namespace, Selector string
	Projects                  []string
}

func (q SetQuery) values() url.Values {
	v := url.Values{}
	set(v, "appsetNamespace", q.Namespace)
	set(v, "selector", q.Selector)
	for _, p := range q.Projects {
		v.Add("projects", p)
	}
	return v
}

// Sets lists ApplicationSets.
func (c *Client) Sets(ctx context.Context, q SetQuery) ([]v1alpha1.ApplicationSet, error) {
	var out v1alpha1.ApplicationSetList
	err := c.do(ctx, call{method: "GET", path: setsPath, query: q.values()}, &out)
	return out.Items, err
}

// Set reads an ApplicationSet.
func (c *Client) Set(ctx context.Context, namespace, name string) (*v1alpha1.ApplicationSet, error) {
	var out v1alpha1.ApplicationSet
	return &out, c.do(ctx, call{method: "GET", path: at(setsPath, name), query: SetQuery{Namespace: namespace}.values()}, &out)
}

// CreateSet creates an ApplicationSet; dryRun fills status.resources only.
func (c *Client) CreateSet(ctx context.Context, s *v1alpha1.ApplicationSet, upsert, dryRun bool) (*v1alpha1.ApplicationSet, error) {
	q := url.Values{}
	setBool(q, "upsert", upsert)
	setBool(q, "dryRun", dryRun)
	var out v1alpha1.ApplicationSet
	return &out, c.do(ctx, call{method: "POST", path: setsPath, query: q, body: s}, &out)
}

// Generate renders the Applications of a set that need not be saved.
func (c *Client) Generate(ctx context.Context, s *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
	var out struct {
		Applications []v1alpha1.Application `json:"applications"`
	}
	err := c.do(ctx, call{method: "POST", path: setsPath + "/generate", body: map[string]any{"applicationSet": s}}, &out)
	return out.Applications, err
}

// DeleteSet deletes an ApplicationSet.
func (c *Client) DeleteSet(ctx context.Context, namespace, name string) error {
	return c.do(ctx, call{method: "DELETE", path: at(setsPath, name), query: SetQuery{Namespace: namespace}.values()}, nil)
}

// WatchSets hands over ApplicationSets as they change.
func (c *Client) WatchSets(ctx context.Context, q SetQuery, each func(*SetEvent) error) error {
	v := url.Values{}
	set(v, "name", q.Name)
	set(v, "appSetNamespace", q.Namespace)
	set(v, "selector", q.Selector)
	for _, p := range q.Projects {
		v.Add("projects", p)
	}
	return watch(ctx, c, call{method: "GET", path: "/api/v1/stream/applicationsets", query: v}, each)
}
