// Package client calls the API of Sluice, as a program in Go. Its methods, in
// zz_generated_calls.go, are made from the table of routes: requests and answers
// are the types of the handlers themselves.
//
//	c := client.New(client.Options{Server: "https://sluice.example", Token: token})
//	list, err := c.ApplicationList(ctx, &application.ListQuery{})
//	for event, err := range c.ApplicationWatch(ctx, &application.Query{}) { ... }
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/rest"
)

// Options of a Client.
type Options struct {
	// Server is the address of the API, with its root path.
	Server string
	// Token is shown with every request; empty is none.
	Token string
	// HTTP sends requests; nil is http.DefaultClient.
	HTTP *http.Client
	// Agent is the User-Agent.
	Agent string
}

// Client calls one server. It is safe for concurrent use.
type Client struct{ options Options }

// New makes a Client.
func New(o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	o.Server = strings.TrimRight(o.Server, "/")
	return &Client{options: o}
}

// maxAnswer bounds one answer, maxMessage one message of a stream, in bytes.
const maxAnswer, maxMessage = 512 << 20, 64 << 20

// send sends a request; the answer is a good one. Errors that the server gives
// are *fault.Error with its code.
func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	target, body, err := rest.Encode(path, request, method)
	if err != nil {
		return nil, err
	}
	q, err := http.NewRequestWithContext(ctx, method, c.options.Server+target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if method != http.MethodGet {
		q.Header.Set("Content-Type", "application/json")
	}
	if c.options.Token != "" {
		q.Header.Set("Authorization", "Bearer "+c.options.Token)
	}
	if c.options.Agent != "" {
		q.Header.Set("User-Agent", c.options.Agent)
	}
	resp, err := c.options.HTTP.Do(q)
	if err != nil {
		return nil, fmt.Errorf("call the server: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // it is read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	var problem struct {
		Code    fault.Code `json:"code"`
		Message string     `json:"message"`
	}
	if json.Unmarshal(raw, &problem) == nil && problem.Code != 0 {
		return nil, fault.New(problem.Code, "%s", problem.Message)
	}
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(raw)))
}

// call makes a unary call.
func call[A any](ctx context.Context, c *Client, method, path string, request any) (*A, error) {
	resp, err := c.send(ctx, method, path, request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read
	answer := new(A)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", path, err)
	}
	return answer, nil
}

// stream makes a call that answers with many messages. The sequence ends with
// the stream, or after an error.
func stream[M any](ctx context.Context, c *Client, path string, request any) iter.Seq2[*M, error] {
	return func(yield func(*M, error) bool) {
		resp, err := c.send(ctx, http.MethodGet, path, request)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // it is read
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(make([]byte, 64<<10), maxMessage)
		for lines.Scan() {
			var line struct {
				Result *M `json:"result"`
				Error  *struct {
					Code    fault.Code `json:"grpc_code"`
					Message string     `json:"message"`
				} `json:"error"`
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				yield(nil, fmt.Errorf("message of %s: %w", path, err))
				return
			}
			if line.Error != nil {
				yield(nil, fault.New(line.Error.Code, "%s", line.Error.Message))
				return
			}
			if line.Result != nil && !yield(line.Result, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil && !errors.Is(err, context.Canceled) {
			yield(nil, fmt.Errorf("stream of %s: %w", path, err))
		}
	}
}
