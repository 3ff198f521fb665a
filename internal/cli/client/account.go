package client

import (
	"context"
	"net/url"
)

// Version asks the server for its version.
func (c *Client) Version(ctx context.Context) (*Version, error) {
	var out Version
	return &out, c.do(ctx, call{method: "GET", path: "/api/version"}, &out)
}

// Settings asks the server for its settings.
func (c *Client) Settings(ctx context.Context) (*Settings, error) {
	var out Settings
	return &out, c.do(ctx, call{method: "GET", path: "/api/v1/settings"}, &out)
}

// Login gives a token for a name and a password.
func (c *Client) Login(ctx context.Context, username, password string) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	err := c.do(ctx, call{method: "POST", path: "/api/v1/session", body: map[string]string{"username": username, "password": password}}, &out)
	return out.Token, err
}

// UserInfo says who the caller is.
func (c *Client) UserInfo(ctx context.Context) (*UserInfo, error) {
	var out UserInfo
	return &out, c.do(ctx, call{method: "GET", path: "/api/v1/session/userinfo"}, &out)
}

const accountsPath = "/api/v1/account"

// Accounts lists local accounts.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	var out list[Account]
	err := c.do(ctx, call{method: "GET", path: accountsPath}, &out)
	return out.Items, err
}

// Account reads a local account.
func (c *Client) Account(ctx context.Context, name string) (*Account, error) {
	var out Account
	return &out, c.do(ctx, call{method: "GET", path: at(accountsPath, name)}, &out)
}

// CanI says "yes" or "no".
func (c *Client) CanI(ctx context.Context, resource, action, object string) (string, error) {
	var out struct {
		Value string `json:"value"`
	}
	// The object may hold slashes, which stay: the rest of the path is one parameter.
	path := at(accountsPath, "can-i", resource, action) + "/" + (&url.URL{Path: object}).EscapedPath()
	err := c.do(ctx, call{method: "GET", path: path}, &out)
	return out.Value, err
}

// UpdatePassword sets a password; name is "" for the own account.
func (c *Client) UpdatePassword(ctx context.Context, name, current, fresh string) error {
	body := map[string]string{"currentPassword": current, "newPassword": fresh}
	if name != "" {
		body["name"] = name
	}
	return c.do(ctx, call{method: "PUT", path: accountsPath + "/password", body: body}, nil)
}

// TokenRequest asks for a token; ExpiresIn is in seconds, 0 is for ever.
type TokenRequest struct {
	ID          string `json:"id,omitempty"`
	ExpiresIn   int64  `json:"expiresIn,omitempty"`
	Description string `json:"description,omitempty"`
}

// AccountToken makes a token for an account.
func (c *Client) AccountToken(ctx context.Context, account string, r TokenRequest) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	err := c.do(ctx, call{method: "POST", path: at(accountsPath, account) + "/token", body: r}, &out)
	return out.Token, err
}

// DeleteAccountToken deletes a token of an account.
func (c *Client) DeleteAccountToken(ctx context.Context, account, id string) error {
	return c.do(ctx, call{method: "DELETE", path: at(accountsPath, account) + at("/token", id)}, nil)
}
