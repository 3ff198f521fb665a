package client

import (
	"context"
	"net/url"
	"strconv"
)

const (
	reposPath = "/api/v1/repositories"
	credsPath = "/api/v1/repocreds"
	certsPath = "/api/v1/certificates"
	keysPath  = "/api/v1/gpgkeys"
)

// Repositories lists repositories; refresh tests connections again.
func (c *Client) Repositories(ctx context.Context, refresh bool) ([]Repository, error) {
	q := url.Values{}
	setBool(q, "forceRefresh", refresh)
	var out list[Repository]
	err := c.do(ctx, call{method: "GET", path: reposPath, query: q}, &out)
	return out.Items, err
}

// Repository reads a repository.
func (c *Client) Repository(ctx context.Context, repo, project string, refresh bool) (*Repository, error) {
	q := url.Values{}
	setBool(q, "forceRefresh", refresh)
	set(q, "appProject", project)
	var out Repository
	return &out, c.do(ctx, call{method: "GET", path: at(reposPath, repo), query: q}, &out)
}

// CreateRepository registers a repository; upsert replaces one that is different.
func (c *Client) CreateRepository(ctx context.Context, r *Repository, upsert bool) (*Repository, error) {
	q := url.Values{}
	setBool(q, "upsert", upsert)
	var out Repository
	return &out, c.do(ctx, call{method: "POST", path: reposPath, query: q, body: r}, &out)
}

// DeleteRepository forgets a repository.
func (c *Client) DeleteRepository(ctx context.Context, repo, project string) error {
	q := url.Values{}
	set(q, "appProject", project)
	return c.do(ctx, call{method: "DELETE", path: at(reposPath, repo), query: q}, nil)
}

// RepoCredentials lists credential templates.
func (c *Client) RepoCredentials(ctx context.Context) ([]RepoCreds, error) {
	var out list[RepoCreds]
	err := c.do(ctx, call{method: "GET", path: credsPath}, &out)
	return out.Items, err
}

// CreateRepoCredentials registers a credential template.
func (c *Client) CreateRepoCredentials(ctx context.Context, r *RepoCreds, upsert bool) (*RepoCreds, error) {
	q := url.Values{}
	setBool(q, "upsert", upsert)
	var out RepoCreds
	return &out, c.do(ctx, call{method: "POST", path: credsPath, query: q, body: r}, &out)
}

// DeleteRepoCredentials forgets a credential template.
func (c *Client) DeleteRepoCredentials(ctx context.Context, pattern string) error {
	return c.do(ctx, call{method: "DELETE", path: at(credsPath, pattern)}, nil)
}

// CertificateQuery selects certificates.
type CertificateQuery struct{ HostPattern, Type, SubType string }

func (q CertificateQuery) values() url.Values {
	v := url.Values{}
	set(v, "hostNamePattern", q.HostPattern)
	set(v, "certType", q.Type)
	set(v, "certSubType", q.SubType)
	return v
}

// Certificates lists certificates and host keys.
func (c *Client) Certificates(ctx context.Context, q CertificateQuery) ([]Certificate, error) {
	var out list[Certificate]
	err := c.do(ctx, call{method: "GET", path: certsPath, query: q.values()}, &out)
	return out.Items, err
}

// CreateCertificates adds certificates and gives those that were new.
func (c *Client) CreateCertificates(ctx context.Context, all []Certificate, upsert bool) ([]Certificate, error) {
	q := url.Values{"upsert": {strconv.FormatBool(upsert)}}
	var out list[Certificate]
	err := c.do(ctx, call{method: "POST", path: certsPath, query: q, body: list[Certificate]{all}}, &out)
	return out.Items, err
}

// DeleteCertificates removes certificates and gives those that were there.
func (c *Client) DeleteCertificates(ctx context.Context, q CertificateQuery) ([]Certificate, error) {
	var out list[Certificate]
	err := c.do(ctx, call{method: "DELETE", path: certsPath, query: q.values()}, &out)
	return out.Items, err
}

// GPGKeys lists keys.
func (c *Client) GPGKeys(ctx context.Context) ([]GPGKey, error) {
	var out list[GPGKey]
	err := c.do(ctx, call{method: "GET", path: keysPath}, &out)
	return out.Items, err
}

// GPGKey reads a key.
func (c *Client) GPGKey(ctx context.Context, id string) (*GPGKey, error) {
	var out GPGKey
	return &out, c.do(ctx, call{method: "GET", path: at(keysPath, id)}, &out)
}

// CreateGPGKeys adds the keys of an armored text.
func (c *Client) CreateGPGKeys(ctx context.Context, armored string) (created []GPGKey, skipped []string, err error) {
	var out struct {
		Created list[GPGKey] `json:"created"`
		Skipped []string     `json:"skipped"`
	}
	err = c.do(ctx, call{method: "POST", path: keysPath, body: map[string]string{"keyData": armored}}, &out)
	return out.Created.Items, out.Skipped, err
}

// DeleteGPGKey removes a key.
func (c *Client) DeleteGPGKey(ctx context.Context, id string) error {
	return c.do(ctx, call{method: "DELETE", path: keysPath, query: url.Values{"keyID": {id}}}, nil)
}
