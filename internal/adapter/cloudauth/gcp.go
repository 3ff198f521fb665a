package cloudauth

import (
	"context"
	"fmt"

	"golang.org/x/oauth2/google"
)

// gcpScopes let GKE know who somebody is, and permit what the identity may do.
var gcpScopes = []string{"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"}

// GCP gets an access token of the application default credentials: the file
// that GOOGLE_APPLICATION_CREDENTIALS names (of a service account, a person or
// a federated identity), or the metadata server.
func GCP(ctx context.Context) (Token, error) {
	found, err := google.FindDefaultCredentials(ctx, gcpScopes...)
	if err != nil {
		return Token{}, fmt.Errorf("gcp: default credentials: %w", brief(err))
	}
	t, err := found.TokenSource.Token()
	if err != nil {
		return Token{}, fmt.Errorf("gcp: %w", brief(err))
	}
	return Token{Value: t.AccessToken, Expires: t.Expiry}, nil
}
