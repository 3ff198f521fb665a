package cluster

import (
	"context"
	"net/http"
)

type identityKey struct{}

// As makes requests with the returned context those of another user: API
// servers decide what that user may do. An empty user is the connection's own.
// What is read and compared stays with the connection's own identity
// (spec/sync.md §15).
func As(ctx context.Context, user string) context.Context {
	if user == "" {
		return ctx
	}
	return context.WithValue(ctx, identityKey{}, user)
}

// identity is the user of the context, empty for the connection's own.
func identity(ctx context.Context) string {
	user, _ := ctx.Value(identityKey{}).(string)
	return user
}

// impersonator tells the API server on whose behalf a request is made.
type impersonator struct{ next http.RoundTripper }

func impersonating(next http.RoundTripper) http.RoundTripper { return impersonator{next} }

// RoundTrip sends the request, in the name of the context's user.
func (i impersonator) RoundTrip(r *http.Request) (*http.Response, error) {
	if user := identity(r.Context()); user != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Impersonate-User", user)
	}
	return i.next.RoundTrip(r)
}
