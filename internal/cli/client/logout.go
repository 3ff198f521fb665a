package client

import (
	"context"
	"net/http"
)

// Logout ends the session of the token at the server. It asks as a browser does: with the cookie. The answer of a server that
// has done it is 200, or 303 to its front page (spec/cli.md §1.6).
func (c *Client) Logout(ctx context.Context) error {
	r, err := c.request(ctx, call{method: "POST", path: "/auth/logout"})
	if err != nil {
		return err
	}
	r.Header.Del("Authorization")
	r.AddCookie(&http.Cookie{Name: "argocd.token", Value: c.o.Token})
	once := &http.Client{Transport: c.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := once.Do(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusSeeOther {
		return refusal(answer.StatusCode, nil)
	}
	return nil
}
