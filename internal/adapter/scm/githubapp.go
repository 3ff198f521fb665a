package scm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-github/v82/github"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// githubAppRef names the Secret of an App and the owner it is installed for.
type githubAppRef struct{ secret, owner string }

// appToken asks for a token of an installed App, for one question alone: it may
// read metadata, contents and pull requests and nothing else.
func (q *question) appToken(ctx context.Context, ref githubAppRef, base string) (repo.Secret, error) {
	app, err := q.access.App(ctx, ref.secret)
	if err != nil {
		return "", err
	}
	if app.BaseURL != "" && !sameHost(strings.TrimRight(app.BaseURL, "/"), base) {
		return "", fmt.Errorf("secret %s belongs to another host than \"api\" names", ref.secret)
	}
	if app.BaseURL == "" && !sameHost("https://api.github.com", base) {
		return "", fmt.Errorf("secret %s is an App of github.com: set githubAppEnterpriseBaseUrl to use it elsewhere", ref.secret)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(app.PrivateKey.Reveal()))
	if err != nil {
		return "", fmt.Errorf("githubAppPrivateKey of Secret %s is not an RSA key in PEM form", ref.secret)
	}
	now := q.Clock.Now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": strconv.FormatInt(app.ID, 10), "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(),
	}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("githubAppPrivateKey of Secret %s cannot sign", ref.secret)
	}
	client := github.NewClient(q.http)
	if client, err = client.WithEnterpriseURLs(base, base); err != nil {
		return "", fmt.Errorf("api: %w", err)
	}
	client = client.WithAuthToken(signed)
	if app.Installation == 0 {
		if app.Installation, err = installation(ctx, client, ref.owner); err != nil {
			return "", err
		}
	}
	read := "read"
	issued, _, err := client.Apps.CreateInstallationToken(ctx, app.Installation, &github.InstallationTokenOptions{
		Permissions: &github.InstallationPermissions{Metadata: &read, Contents: &read, PullRequests: &read},
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("the host gives the App no token: %w", err)
	case issued.GetToken() == "":
		return "", errors.New("the host gives the App no token")
	}
	return repo.Secret(issued.GetToken()), nil
}

func installation(ctx context.Context, client *github.Client, owner string) (int64, error) {
	found, _, err := client.Apps.FindOrganizationInstallation(ctx, owner)
	var answer *answerError
	if errors.As(err, &answer) && answer.code == http.StatusNotFound {
		found, _, err = client.Apps.FindUserInstallation(ctx, owner)
	}
	if err != nil {
		return 0, fmt.Errorf("the App is not installed for %s, or may not be asked: %w", owner, err)
	}
	return found.GetID(), nil
}
