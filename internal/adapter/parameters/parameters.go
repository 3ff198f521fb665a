// Package parameters asks a service for parameter sets: the plugin generator
// (spec/applicationset.md §3.9).
//
// One question is one POST. An answer is whole or an error; what the service
// says besides is never shown, for it may repeat the token it was sent.
package parameters

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Bounds of a question: its answer in bytes, and its time when the config map
// says nothing.
const (
	maxBody        = 32 << 20
	DefaultTimeout = 30 * time.Second
	maxTimeout     = 10 * time.Minute
)

// Question is what a service is asked.
type Question struct {
	// BaseURL of the service; Token names who asks.
	BaseURL string
	Token   repo.Secret
	// Timeout of the answer; zero is DefaultTimeout.
	Timeout time.Duration
	// ApplicationSet that asks and its input.parameters.
	ApplicationSet string
	Parameters     map[string]json.RawMessage
}

// Client asks services. It may be used by several goroutines.
type Client struct{ http *http.Client }

// New makes a client over a transport; nil is the default one.
func New(base http.RoundTripper) *Client {
	return &Client{http: &http.Client{Transport: base, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

const path = "/api/v1/getparams.execute"

// Ask asks one question.
func (c *Client) Ask(ctx context.Context, q Question) ([]map[string]any, error) {
	base, err := url.Parse(q.BaseURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil {
		return nil, errors.New("baseUrl is not an http or https URL without credentials")
	}
	if q.Timeout <= 0 {
		q.Timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, min(q.Timeout, maxTimeout))
	defer cancel()
	parameters := q.Parameters
	if parameters == nil {
		parameters = map[string]json.RawMessage{}
	}
	body, err := json.Marshal(map[string]any{"applicationSetName": q.ApplicationSet, "input": map[string]any{"parameters": parameters}})
	if err != nil {
		return nil, fmt.Errorf("input.parameters: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(q.BaseURL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("baseUrl is not a URL")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+q.Token.Reveal())
	response, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s gives no answer within %s: %w", base.Host, q.Timeout, ctx.Err())
		}
		return nil, fmt.Errorf("%s cannot be reached: %w", base.Host, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, fmt.Errorf("%s answers %d: look at the service and at key token of its config map", base.Host, response.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer of %s is cut off: %w", base.Host, err)
	case len(raw) > maxBody:
		return nil, fmt.Errorf("%s answers with more than %d MiB", base.Host, maxBody>>20)
	}
	return read(base.Host, raw)
}

func read(host string, raw []byte) ([]map[string]any, error) {
	var answer struct {
		Output *struct {
			Parameters *[]map[string]any `json:"parameters"`
		} `json:"output"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Output == nil || answer.Output.Parameters == nil {
		return nil, fmt.Errorf("%s does not answer with output.parameters, a list of objects", host)
	}
	for i, object := range *answer.Output.Parameters {
		if object == nil {
			return nil, fmt.Errorf("%s answers with output.parameters[%d] that is no object", host, i)
		}
	}
	return *answer.Output.Parameters, nil
}
