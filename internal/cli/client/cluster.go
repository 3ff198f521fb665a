package client

import (
	"context"
	"net/url"
	"strings"
)

const clustersPath = "/api/v1/clusters"

// ClusterID reads what people name a cluster by: its server URL or its name.
func ClusterID(text string) (id string, query url.Values) {
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") {
		return text, url.Values{}
	}
	return text, url.Values{"id.type": {"name"}}
}

// Clusters lists clusters.
func (c *Client) Clusters(ctx context.Context) ([]Cluster, error) {
	var out list[Cluster]
	err := c.do(ctx, call{method: "GET", path: clustersPath}, &out)
	return out.Items, err
}

// Cluster reads a cluster by server or name.
func (c *Client) Cluster(ctx context.Context, id string) (*Cluster, error) {
	id, q := ClusterID(id)
	var out Cluster
	return &out, c.do(ctx, call{method: "GET", path: at(clustersPath, id), query: q}, &out)
}

// CreateCluster registers a cluster; upsert replaces one that is different.
func (c *Client) CreateCluster(ctx context.Context, cluster *Cluster, upsert bool) (*Cluster, error) {
	q := url.Values{}
	setBool(q, "upsert", upsert)
	var out Cluster
	return &out, c.do(ctx, call{method: "POST", path: clustersPath, query: q, body: cluster}, &out)
}

// UpdateCluster replaces the named fields of a cluster.
func (c *Client) UpdateCluster(ctx context.Context, id string, cluster *Cluster, fields []string) (*Cluster, error) {
	id, q := ClusterID(id)
	for _, f := range fields {
		q.Add("updatedFields", f)
	}
	var out Cluster
	return &out, c.do(ctx, call{method: "PUT", path: at(clustersPath, id), query: q, body: cluster}, &out)
}

// DeleteCluster forgets a cluster.
func (c *Client) DeleteCluster(ctx context.Context, id string) error {
	id, q := ClusterID(id)
	return c.do(ctx, call{method: "DELETE", path: at(clustersPath, id), query: q}, nil)
}

// RotateAuth gives a cluster new credentials.
func (c *Client) RotateAuth(ctx context.Context, id string) error {
	id, q := ClusterID(id)
	return c.do(ctx, call{method: "POST", path: at(clustersPath, id) + "/rotate-auth", query: q}, nil)
}
