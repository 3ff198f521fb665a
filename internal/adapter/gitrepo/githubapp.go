package gitrepo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// tokenSource gives a token that is valid now.
type tokenSource interface {
	Token(context.Context) (string, error)
}

// gitHubApp asks GitHub for tokens of one installation of an App. A token
// lives for an hour; it may read contents and nothing else.
type gitHubApp struct {
	app    repo.GitHubApp
	owner  string
	api    string
	key    any
	client *http.Client
	clock  clock.PassiveClock

	mu      sync.Mutex
	install int64
	token   string
	until   time.Time
}

// tokenMargin is how long before its end a token is replaced.
const tokenMargin = 5 * time.Minute

func newGitHubApp(r repo.Repository, at repo.Address, client *http.Client, c clock.PassiveClock) (*gitHubApp, error) {
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(r.GitHubApp.PrivateKey.Reveal()))
	if err != nil {
		return nil, errors.New("githubAppPrivateKey in the Secret of the repository is not an RSA key in PEM form")
	}
	if r.GitHubApp.ID == 0 {
		return nil, errors.New("githubAppID in the Secret of the repository is missing")
	}
	if at.Scheme != "https" && at.Scheme != "http" {
		return nil, errors.New("a GitHub App needs an https URL: change the URL of the repository")
	}
	api := strings.TrimRight(r.GitHubApp.BaseURL, "/")
	if api == "" {
		api = "https://api.github.com"
	}
	owner, _, _ := strings.Cut(strings.Trim(at.Path, "/"), "/")
	return &gitHubApp{app: r.GitHubApp, owner: owner, api: api, key: key, client: client, clock: c, install: r.GitHubApp.Installation}, nil
}

// Token gives the current token, or a new one shortly before it ends.
func (g *gitHubApp) Token(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	if g.token != "" && now.Before(g.until.Add(-tokenMargin)) {
		return g.token, nil
	}
	if g.install == 0 {
		found, err := g.discover(ctx)
		if err != nil {
			return "", err
		}
		g.install = found
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	path := fmt.Sprintf("/app/installations/%d/access_tokens", g.install)
	if err := g.call(ctx, http.MethodPost, path, map[string]any{"permissions": map[string]string{"contents": "read"}}, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" || strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' }) {
		return "", &gitError{verb: "token", said: "GitHub gave no token for the App", kind: errRemote}
	}
	g.token, g.until = answer.Token, answer.Expires
	if g.until.IsZero() {
		g.until = now.Add(time.Hour)
	}
	return g.token, nil
}

// discover finds the installation of the App for the owner of the repository.
func (g *gitHubApp) discover(ctx context.Context) (int64, error) {
	var answer struct {
		ID int64 `json:"id"`
	}
	err := g.call(ctx, http.MethodGet, "/orgs/"+g.owner+"/installation", nil, &answer)
	if errors.Is(err, errRefused) {
		err = g.call(ctx, http.MethodGet, "/users/"+g.owner+"/installation", nil, &answer)
	}
	if err == nil && answer.ID == 0 {
		err = &gitError{verb: "token", said: fmt.Sprintf("the GitHub App is not installed for %s: install it, or set githubAppInstallationID", g.owner), kind: errRefused}
	}
	return answer.ID, err
}

// call does one request as the App. What GitHub answers is not shown: it may
// repeat what it was sent.
func (g *gitHubApp) call(ctx context.Context, method, path string, body, into any) error {
	now := g.clock.Now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": strconv.FormatInt(g.app.ID, 10), "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(),
	}).SignedString(g.key)
	if err != nil {
		return errors.New("githubAppPrivateKey in the Secret of the repository cannot sign")
	}
	raw := []byte{}
	if body != nil {
		if raw, err = json.Marshal(body); err != nil {
			return fmt.Errorf("token request: %w", err)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(bounded, method, g.api+path, bytes.NewReader(raw))
	if err != nil {
		return errors.New("githubAppEnterpriseBaseUrl in the Secret of the repository is not a URL")
	}
	request.Header.Set("Authorization", "Bearer "+signed)
	request.Header.Set("Accept", "application/vnd.github+json")
	answer, err := g.client.Do(request)
	if err != nil {
		return &gitError{verb: "token", said: fmt.Sprintf("GitHub at %s cannot be reached: check githubAppEnterpriseBaseUrl, the proxy and the network", repo.Redact(g.api)), kind: errRemote}
	}
	defer func() { _ = answer.Body.Close() }()
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound || code == http.StatusUnprocessableEntity:
		return &gitError{verb: "token", said: fmt.Sprintf("GitHub refuses the App (%d): check githubAppID, githubAppInstallationID, githubAppPrivateKey and the permission to read contents", code), kind: errRefused}
	case code == http.StatusTooManyRequests:
		return &gitError{verb: "token", said: "GitHub asks for fewer requests", kind: errThrottled}
	case code < 200 || code > 299:
		return &gitError{verb: "token", said: fmt.Sprintf("GitHub answers the App with %d", code), kind: errRemote}
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(into); err != nil {
		return &gitError{verb: "token", said: "GitHub answers the App with something that is not JSON", kind: errRemote}
	}
	return nil
}
