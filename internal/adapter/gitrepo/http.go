package gitrepo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// newClient makes a client for what git does not do itself: tokens of GitHub
// Apps, large files, redirects. It trusts, proves and goes as git does for r,
// and follows no redirect.
func newClient(r repo.Repository, environment []string) (*http.Client, error) {
	config, err := r.TLS()
	if err != nil {
		return nil, err
	}
	via := r.Via(environment)
	return &http.Client{
		Timeout: 5 * time.Minute,
		Transport: &http.Transport{
			Proxy: func(q *http.Request) (*url.URL, error) { return via(q.URL) }, TLSClientConfig: config, ForceAttemptHTTP2: true,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// follow finds out where a repository has moved to and goes there, if that is
// on the same host: git sends its header wherever it is redirected, so it must
// not follow by itself, and a password is for one origin (design SEC-05).
func (e *endpoint) follow(ctx context.Context, moved error) error {
	from := strings.TrimRight(e.target(), "/")
	const suffix = "/info/refs?service=git-upload-pack"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from+suffix, nil)
	if err != nil {
		return moved
	}
	if header := e.header(); header != "" {
		request.Header.Set("Authorization", strings.TrimPrefix(header, "Authorization: "))
	}
	answer, err := e.client.Do(request)
	if err != nil {
		return moved
	}
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	_ = answer.Body.Close()
	location, err := answer.Location()
	if err != nil {
		return moved
	}
	to, ok := strings.CutSuffix(location.String(), suffix)
	address, err := repo.Parse(to)
	switch {
	case !ok || err != nil:
		return &gitError{verb: "redirect", said: "the server redirects to an address that is no repository: correct the URL", kind: errRemote}
	case address.Origin() != e.origin() && !upgrades(e.address, address):
		return &gitError{verb: "redirect", said: fmt.Sprintf("the repository has moved to %s: declare that URL, credentials are not sent to another host", repo.Redact(to)), kind: errRemote}
	case address.Origin() != e.origin() && e.header() != "":
		return &gitError{verb: "redirect", said: fmt.Sprintf("the repository is served at %s: declare that URL", repo.Redact(to)), kind: errRemote}
	}
	e.mu.Lock()
	e.url = to
	e.mu.Unlock()
	return nil
}

// upgrades says that b is a over https.
func upgrades(a, b repo.Address) bool {
	return a.Scheme == "http" && b.Scheme == "https" && a.Host == b.Host
}
