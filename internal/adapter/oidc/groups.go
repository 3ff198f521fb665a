package oidc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/rbac"
)

// groupCache remembers groups that were asked for, for a while, by access token.
type groupCache struct {
	mu    sync.Mutex
	known map[[32]byte]groups
}

type groups struct {
	names []string
	until time.Time
}

// maxGroupSets is how many answers are remembered.
const maxGroupSets = 10000

// source is a place that tells the groups of who shows an access token.
type source struct {
	name  string
	cache time.Duration
	ask   func(ctx context.Context, subject, access string) ([]string, error)
}

// sources are the places that have to be asked for the groups of a token.
func (c *Client) sources(p *provider, claims map[string]any) (out []source) {
	if p.config.UserInfoGroups {
		out = append(out, source{"user info", p.config.UserInfoCache, func(ctx context.Context, subject, access string) ([]string, error) {
			claims, err := p.askUserInfo(ctx, access)
			if err == nil && claims["sub"] != subject && claims["sub"] != nil {
				return nil, errors.New("the provider answers for another user")
			}
			return rbac.Groups(claims, c.Scopes()), err
		}})
	}
	if a := p.config.Azure; a.Overage && slices.Contains(c.Scopes(), "groups") && overflows(claims) {
		out = append(out, source{"Microsoft Graph", a.Cache, func(ctx context.Context, _, access string) ([]string, error) {
			return p.askGraph(ctx, access)
		}})
	}
	return out
}

// overflows says that a token of Microsoft Entra ID names a place to ask instead
// of groups: its owner has too many for a token.
func overflows(claims map[string]any) bool {
	if has, ok := claims["hasgroups"].(bool); ok && has {
		return true
	}
	names, _ := claims["_claim_names"].(map[string]any)
	_, elsewhere := names["groups"]
	return elsewhere
}

// moreGroups asks the sources for the groups of a login. Without an answer there
// are none: nobody gets more than he is known to have.
func (c *Client) moreGroups(ctx context.Context, from []source, subject, session string) (out []string) {
	var s login
	if len(from) == 0 || session == "" || c.open(purposeSession, session, &s) != nil || s.Access == "" || s.Subject != subject {
		return nil
	}
	for _, one := range from {
		out = append(out, c.groupsOf(ctx, one, subject, s.Access)...)
	}
	return out
}

func (c *Client) groupsOf(ctx context.Context, from source, subject, access string) []string {
	key := sha256.Sum256([]byte(from.name + "\x00" + access))
	now := c.Clock.Now()
	c.groups.mu.Lock()
	known, ok := c.groups.known[key]
	c.groups.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.names
	}
	fresh := groups{until: now.Add(from.cache)}
	var err error
	if fresh.names, err = from.ask(ctx, subject, access); err != nil {
		c.Log.Warn("groups of a user are not known", "source", from.name, "error", err.Error())
		fresh = groups{until: now.Add(pause)}
	}
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	if len(c.groups.known) >= maxGroupSets {
		clear(c.groups.known)
	}
	c.groups.known[key] = fresh
	return fresh.names
}

func (p *provider) askUserInfo(ctx context.Context, token string) (map[string]any, error) {
	if p.userInfo == "" {
		return nil, errors.New("the provider has no user info: set userInfoPath in oidc.config")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.userInfo, nil)
	if err != nil {
		return nil, errors.New("the address of user info is no URL")
	}
	var out map[string]any
	err = p.answer(r, token, &out)
	return out, err
}

// askGraph asks Microsoft Graph for the ids of all groups that the owner of the
// token is in, directly or through others.
func (p *provider) askGraph(ctx context.Context, token string) ([]string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(p.config.Azure.Graph, "/")+"/me/getMemberObjects", bytes.NewReader([]byte(`{"securityEnabledOnly":false}`)))
	if err != nil {
		return nil, errors.New("graphApiEndpoint is no URL")
	}
	r.Header.Set("Content-Type", "application/json")
	var out struct {
		Value []string `json:"value"`
	}
	err = p.answer(r, token, &out)
	return out.Value, err
}

// answer reads the JSON that is answered to the bearer of a token.
func (p *provider) answer(r *http.Request, token string, into any) error {
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it is read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with status %d", r.URL.Host, res.StatusCode)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("the answer of %s is no JSON that is expected", r.URL.Host)
	}
	return nil
}
