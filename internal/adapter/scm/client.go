package scm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http/httpproxy"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Public addresses of the hosts that a generator need not name.
const (
	publicBitbucket = "https://api.bitbucket.org/2.0"
	publicAzure     = "https://dev.azure.com"
)

// DefaultTimeout bounds the whole of one answer.
const DefaultTimeout = 5 * time.Minute

// Options of a Client.
type Options struct {
	// RootCAs is a PEM bundle that is trusted beside the system's; ProxyURL and
	// NoProxy override the proxy of Environment (spec/applicationset.md §3.10).
	RootCAs           string
	ProxyURL, NoProxy string
	// Environment is "NAME=value" as of os.Environ: proxies, tokens where a
	// generator names none, and credentials of AWS.
	Environment []string
	// Bitbucket is the address of Bitbucket Cloud, AWS that of a service of AWS
	// in a region; empty and nil are the public ones.
	Bitbucket string
	AWS       func(service, region string) string
	// Timeout bounds one answer; zero is DefaultTimeout.
	Timeout time.Duration
	// GitHubMetrics adds the argocd_github_api_* family.
	GitHubMetrics bool
	ReadFile      func(name string) ([]byte, error)
	Log           *slog.Logger
	Clock         clock.PassiveClock
	Registerer    prometheus.Registerer
}

// Access is on whose behalf a question is asked, and with which means.
type Access struct {
	// Namespace and Name of the set.
	Namespace, Name string
	// Token reads a permitted Secret, CA a config map, App the Secret of a
	// GitHub App; each error names the object, the key and the remedy.
	Token func(ctx context.Context, ref v1alpha1.SecretRef) (repo.Secret, error)
	CA    func(ctx context.Context, ref v1alpha1.ConfigMapKeyRef) (string, error)
	App   func(ctx context.Context, secret string) (repo.GitHubApp, error)
	// Default lets the tokens of the environment be used where the generator
	// names none.
	Default bool
}

// Client asks hosts. It may be used by several goroutines.
type Client struct {
	Options
	environment map[string]string
	metrics     metrics
}

// New makes a client.
func New(o Options) *Client {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Bitbucket == "" {
		o.Bitbucket = publicBitbucket
	}
	if o.AWS == nil {
		o.AWS = publicAWS
	}
	c := &Client{Options: o, environment: map[string]string{}, metrics: newMetrics(o.Registerer, o.GitHubMetrics)}
	for _, kv := range o.Environment {
		name, value, _ := strings.Cut(kv, "=")
		c.environment[name] = value
	}
	return c
}

// question is one question to one host.
type question struct {
	*Client
	access   Access
	provider string
	http     *http.Client
	close    func()
}

// security is what a generator says about the connection to its host.
type security struct {
	insecure bool
	ca       *v1alpha1.ConfigMapKeyRef
}

// question prepares the connection to a host.
func (c *Client) question(ctx context.Context, a Access, provider string, s security) (*question, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.insecure} //nolint:gosec // asked for by the field "insecure"
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if c.RootCAs != "" && !pool.AppendCertsFromPEM([]byte(c.RootCAs)) {
		return nil, errors.New("--scm-root-ca-path holds no PEM certificate")
	}
	if s.ca != nil {
		bundle, err := a.CA(ctx, *s.ca)
		if err != nil {
			return nil, fmt.Errorf("caRef: %w", err)
		}
		if !pool.AppendCertsFromPEM([]byte(bundle)) {
			return nil, fmt.Errorf("caRef: key %s of ConfigMap %s holds no PEM certificate", s.ca.Key, s.ca.ConfigMapName)
		}
	}
	config.RootCAs = pool
	via := c.proxies().ProxyFunc()
	base := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return via(r.URL) }, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second, MaxIdleConnsPerHost: atOnce,
	}
	q := &question{Client: c, access: a, provider: provider, close: base.CloseIdleConnections}
	q.http = &http.Client{
		Transport: &guard{base: base, question: q},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 5 || r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
				return fmt.Errorf("redirects to %s, which is not followed: give the final address in \"api\", or check the token", r.URL.Host)
			}
			return nil
		},
	}
	return q, nil
}

func (c *Client) proxies() *httpproxy.Config {
	first := func(names ...string) string {
		for _, n := range names {
			if v := c.environment[n]; v != "" {
				return v
			}
		}
		return ""
	}
	out := &httpproxy.Config{
		HTTPProxy: first("HTTP_PROXY", "http_proxy"), HTTPSProxy: first("HTTPS_PROXY", "https_proxy"), NoProxy: first("NO_PROXY", "no_proxy"),
	}
	if c.ProxyURL != "" {
		out.HTTPProxy, out.HTTPSProxy = c.ProxyURL, c.ProxyURL
	}
	if c.NoProxy != "" {
		out.NoProxy = c.NoProxy
	}
	return out
}

// address reads the address of an API.
func address(field, text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("%s is not an http or https URL", field)
	case u.User != nil:
		return "", fmt.Errorf("%s holds credentials: name a Secret instead", field)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%s holds a query: write the address alone", field)
	}
	return strings.TrimRight(text, "/"), nil
}

// token reads the token that a generator names, or the environment's; empty is
// none.
func (q *question) token(ctx context.Context, ref *v1alpha1.SecretRef, variable string) (repo.Secret, error) {
	if ref == nil {
		if q.access.Default {
			return repo.Secret(q.environment[variable]), nil
		}
		return "", nil
	}
	return q.secret(ctx, *ref)
}

// secret reads a Secret and refuses what cannot stand in a header.
func (q *question) secret(ctx context.Context, ref v1alpha1.SecretRef) (repo.Secret, error) {
	s, err := q.access.Token(ctx, ref)
	if err != nil {
		return "", err
	}
	s = repo.Secret(strings.TrimSpace(s.Reveal()))
	if s == "" || strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("key %s of Secret %s is empty or holds a line break", ref.Key, ref.SecretName)
	}
	return s, nil
}

// Repositories lists the branches that a generator chooses.
func (c *Client) Repositories(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (appset.Listing, error) {
	filters, err := appset.CompileRepositoryFilters(g.Filters)
	if err != nil {
		return appset.Listing{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	o, err := c.organization(ctx, a, g)
	if err != nil {
		return appset.Listing{}, err
	}
	defer o.question().close()
	return collect(ctx, o, filters)
}

// organization finds the host of a generator: the first that is named in the
// order of spec/applicationset.md §3.6.
func (c *Client) organization(ctx context.Context, a Access, g *v1alpha1.SCMProviderGenerator) (host, error) {
	switch {
	case g.Github != nil:
		return c.githubOrganization(ctx, a, g)
	case g.Gitlab != nil:
		return c.gitlabGroup(ctx, a, g)
	case g.Gitea != nil:
		return c.giteaOwner(ctx, a, g)
	case g.BitbucketServer != nil:
		return c.bitbucketServerProject(ctx, a, g)
	case g.AzureDevOps != nil:
		return c.azureProject(ctx, a, g)
	case g.Bitbucket != nil:
		return c.bitbucketOwner(ctx, a, g)
	case g.AWSCodeCommit != nil:
		return c.codeCommitAccount(ctx, a, g)
	}
	return nil, errors.New("names no host: set one of github, gitlab, gitea, bitbucketServer, azureDevOps, bitbucket, awsCodeCommit")
}

// PullRequests lists the pull requests that a generator chooses.
func (c *Client) PullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestGenerator) ([]appset.PullRequest, error) {
	filters, err := appset.CompilePullRequestFilters(g.Filters)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	all, err := c.pullRequests(ctx, a, g)
	if err != nil {
		if notFound(err) {
			return nil, fmt.Errorf("%w: %w", appset.ErrNoRepository, err)
		}
		return nil, err
	}
	var out []appset.PullRequest
	for _, r := range all {
		if filters.Chooses(r) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (c *Client) pullRequests(ctx context.Context, a Access, g *v1alpha1.PullRequestGenerator) ([]appset.PullRequest, error) {
	switch {
	case g.Github != nil:
		return c.githubPullRequests(ctx, a, g.Github)
	case g.GitLab != nil:
		return c.gitlabMergeRequests(ctx, a, g.GitLab)
	case g.Gitea != nil:
		return c.giteaPullRequests(ctx, a, g.Gitea)
	case g.BitbucketServer != nil:
		return c.bitbucketServerPullRequests(ctx, a, g.BitbucketServer)
	case g.Bitbucket != nil:
		return c.bitbucketPullRequests(ctx, a, g.Bitbucket)
	case g.AzureDevOps != nil:
		return c.azurePullRequests(ctx, a, g.AzureDevOps)
	}
	return nil, errors.New("names no host: set one of github, gitlab, gitea, bitbucketServer, bitbucket, azuredevops")
}
