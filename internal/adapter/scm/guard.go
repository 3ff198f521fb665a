package scm

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of an answer.
const (
	maxBody  = 32 << 20
	maxWords = 4 << 10
	maxWait  = time.Hour
)

// guard is the transport of all hosts: it bounds what comes and turns every
// refusal into an error before a library sees it, so that all hosts fail in the
// same words. What a host says is never shown: it may repeat what it was sent.
type guard struct {
	base     http.RoundTripper
	question *question
}

// answerError is an answer that is no answer.
type answerError struct {
	code int
	// body is the beginning of what was said, for programs alone.
	body []byte
}

func (e *answerError) Error() string {
	remedy := "look at the host"
	switch {
	case e.code == http.StatusUnauthorized || e.code == http.StatusForbidden:
		remedy = "check the token and its permissions"
	case e.code == http.StatusNotFound:
		remedy = "check the names and \"api\"; a token without permission sees the same"
	case e.code >= 500:
		remedy = "the host is in trouble"
	}
	return fmt.Sprintf("the host answers %d: %s", e.code, remedy)
}

// throttled is an answer that asks for fewer requests.
type throttled struct {
	host  string
	until time.Time
}

func (e *throttled) Error() string {
	return fmt.Sprintf("%s asks for fewer requests until %s", e.host, e.until.UTC().Format(time.RFC3339))
}

// RetryAt is when the host may be asked again.
func (e *throttled) RetryAt() time.Time { return e.until }

// notFound says that the host knows no such thing.
func notFound(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.code == http.StatusNotFound
}

// RoundTrip does one request.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	q := g.question
	begin := q.Clock.Now()
	response, err := g.base.RoundTrip(r)
	q.metrics.observe(q, r, response, q.Clock.Since(begin))
	if err != nil {
		return nil, err //nolint:wrapcheck // a transport passes errors on
	}
	if wait, yes := wait(response, q.Clock.Now()); yes {
		drain(response)
		return nil, &throttled{host: r.URL.Host, until: q.Clock.Now().Add(wait)}
	}
	if response.StatusCode >= 400 {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxWords))
		drain(response)
		return nil, &answerError{code: response.StatusCode, body: body}
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); response.StatusCode < 300 && (kind == "text/html" || kind == "application/xhtml+xml") {
		drain(response)
		return nil, errors.New("the host answers with a web page instead of data: check \"api\" and the token")
	}
	response.Body = &bounded{ReadCloser: response.Body, left: maxBody}
	return response, nil
}

func drain(r *http.Response) {
	_, _ = io.CopyN(io.Discard, r.Body, 64<<10)
	_ = r.Body.Close()
}

// wait says whether the answer asks for fewer requests and for how long.
func wait(r *http.Response, now time.Time) (time.Duration, bool) {
	after := r.Header.Get("Retry-After")
	spent := r.Header.Get("X-RateLimit-Remaining") == "0" || r.Header.Get("RateLimit-Remaining") == "0"
	switch {
	case r.StatusCode == http.StatusTooManyRequests:
	case r.StatusCode == http.StatusForbidden && (spent || after != ""):
	default:
		return 0, false
	}
	pause := time.Minute
	if seconds, err := strconv.Atoi(after); err == nil {
		pause = time.Duration(min(seconds, 86400)) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		pause = at.Sub(now)
	} else {
		for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
			if at, err := strconv.ParseInt(r.Header.Get(name), 10, 64); err == nil && at > 0 {
				pause = time.Unix(at, 0).Sub(now)
				break
			}
		}
	}
	return min(max(pause, time.Second), maxWait), true
}

// bounded fails when more is read than allowed.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the host answers with more than %d MiB", maxBody>>20)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return n, fmt.Errorf("the answer is cut off: %w", err)
	}
	return n, err //nolint:wrapcheck // io.EOF must stay itself
}

// sameHost says that b is on the host of a: a page must not lead elsewhere.
func sameHost(a, b string) bool {
	hostOf := func(s string) string {
		scheme, rest, _ := strings.Cut(s, "://")
		host, _, _ := strings.Cut(rest, "/")
		host, _, _ = strings.Cut(host, "?")
		return scheme + "://" + host
	}
	return hostOf(a) == hostOf(b)
}
