package scm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// api is the small client of hosts that have no light library.
type api struct {
	*question
	base string
	// authorize adds who is asking.
	authorize func(*http.Request)
}

// get reads one document; the header is that of the answer.
func (a *api) get(ctx context.Context, at string, query url.Values, into any) (http.Header, error) {
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return a.do(r, into)
}

func (a *api) do(r *http.Request, into any) (http.Header, error) {
	r.Header.Set("Accept", "application/json")
	if a.authorize != nil {
		a.authorize(r)
	}
	response, err := a.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.provider, err)
	}
	defer func() { _ = response.Body.Close() }()
	if into == nil || response.StatusCode == http.StatusNoContent {
		return response.Header, nil
	}
	d := json.NewDecoder(response.Body)
	if err := d.Decode(into); err != nil {
		return nil, fmt.Errorf("%s %s%s: the answer is not whole: %w", r.Method, r.URL.Host, r.URL.Path, err)
	}
	return response.Header, nil
}

// escape makes names path segments; slashes in them do not separate.
func escape(segments ...string) string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = url.PathEscape(s)
		if s == "." || s == ".." { // would lead elsewhere
			out[i] = strings.ReplaceAll(s, ".", "%2E")
		}
	}
	return "/" + strings.Join(out, "/")
}

// escapePath keeps the slashes of a path.
func escapePath(path string) string { return escape(strings.Split(strings.Trim(path, "/"), "/")...) }
