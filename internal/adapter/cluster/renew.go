package cluster

import (
	"net/http"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// clientFor is the client for all requests of a connection.
func clientFor(cfg *rest.Config) (*http.Client, error) {
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.ExecProvider != nil {
		transport = &renewing{next: transport}
	}
	return &http.Client{Transport: transport, Timeout: cfg.Timeout}, nil
}

// renewing sends a request once more when the API server does not know the
// credential: the layer below has asked the program for a new one by then. A
// certificate or token that ends in the middle of a connection is thereby
// replaced without anybody seeing an error. A program whose credentials are
// refused even when they are new is not asked twice for each request.
type renewing struct {
	next     http.RoundTripper
	hopeless atomic.Bool
}

// RoundTrip sends the request, if need be twice; one that was refused for its
// credential was not carried out.
func (n *renewing) RoundTrip(r *http.Request) (*http.Response, error) {
	first := r.Clone(r.Context()) // the layer below writes the credential into it
	answer, err := n.next.RoundTrip(first)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusUnauthorized {
		n.hopeless.Store(false)
		return answer, nil
	}
	again := r.Clone(r.Context())
	switch {
	case n.hopeless.Load():
		return answer, nil
	case r.Body == nil || r.Body == http.NoBody:
	case r.GetBody == nil:
		return answer, nil
	default:
		if again.Body, err = r.GetBody(); err != nil {
			return answer, nil // the first answer is as good
		}
	}
	_ = answer.Body.Close() // nobody reads it
	answer, err = n.next.RoundTrip(again)
	if err == nil {
		n.hopeless.Store(answer.StatusCode == http.StatusUnauthorized)
	}
	return answer, err
}

// WrappedRoundTripper is the layer below, for those who close idle connections.
func (n *renewing) WrappedRoundTripper() http.RoundTripper { return n.next }
