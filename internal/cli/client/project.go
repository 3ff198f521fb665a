package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

const projectsPath = "/api/v1/projects"

// Projects lists projects.
func (c *Client) Projects(ctx context.Context) ([]v1alpha1.AppProject, error) {
	var out v1alpha1.AppProjectList
	err := c.do(ctx, call{method: "GET", path: projectsPath}, &out)
	return out.Items, err
}

// Project reads a project.
func (c *Client) Project(ctx context.Context, name string) (*v1alpha1.AppProject, error) {
	var out v1alpha1.AppProject
	return &out, c.do(ctx, call{method: "GET", path: at(projectsPath, name)}, &out)
}

// DetailedProject is a project with what belongs to it.
type DetailedProject struct {
	GlobalProjects []v1alpha1.AppProject `json:"globalProjects,omitempty"`
	Project        v1alpha1.AppProject   `json:"project"`
	Repositories   []Repository          `json:"repositories,omitempty"`
	Clusters       []Cluster             `json:"clusters,omitempty"`
}

// DetailedProject reads a project with its repositories and clusters.
func (c *Client) DetailedProject(ctx context.Context, name string) (*DetailedProject, error) {
	var out DetailedProject
	return &out, c.do(ctx, call{method: "GET", path: at(projectsPath, name) + "/detailed"}, &out)
}

// CreateProject creates a project; upsert replaces one that is different.
func (c *Client) CreateProject(ctx context.Context, p *v1alpha1.AppProject, upsert bool) (*v1alpha1.AppProject, error) {
	var out v1alpha1.AppProject
	return &out, c.do(ctx, call{method: "POST", path: projectsPath, body: map[string]any{"project": p, "upsert": upsert}}, &out)
}

// UpdateProject replaces a project.
func (c *Client) UpdateProject(ctx context.Context, p *v1alpha1.AppProject) (*v1alpha1.AppProject, error) {
	var out v1alpha1.AppProject
	return &out, c.do(ctx, call{method: "PUT", path: at(projectsPath, p.Name), body: map[string]any{"project": p}}, &out)
}

// DeleteProject deletes a project.
func (c *Client) DeleteProject(ctx context.Context, name string) error {
	return c.do(ctx, call{method: "DELETE", path: at(projectsPath, name)}, nil)
}

// ProjectToken makes a token for a role.
func (c *Client) ProjectToken(ctx context.Context, project, role string, r TokenRequest) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	err := c.do(ctx, call{method: "POST", path: at(projectsPath, project, "roles", role) + "/token", body: r}, &out)
	return out.Token, err
}

// DeleteProjectToken deletes the token of a role that was issued at iat.
func (c *Client) DeleteProjectToken(ctx context.Context, project, role string, iat int64) error {
	return c.do(ctx, call{method: "DELETE", path: at(projectsPath, project, "roles", role, "token", strconv.FormatInt(iat, 10)), query: url.Values{}}, nil)
}
