package measure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	prom "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/analysis"
)

// Bounds of an answer: its bytes, and the words that are taken from it.
const (
	maxBody  = 4 << 20
	maxWords = 300
)

// Options of a Client.
type Options struct {
	// Providers says which servers may be asked.
	Providers  analysis.Providers
	Log        *slog.Logger
	Clock      clock.PassiveClock
	Registerer prometheus.Registerer
}

// Client measures. It may be used by several goroutines.
type Client struct {
	Options
	strict, insecure http.RoundTripper
	seconds          *prometheus.HistogramVec
}

// New makes a client; connections are kept and shared.
func New(o Options) *Client {
	strict := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented to be one
	strict.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	insecure := strict.Clone()
	insecure.TLSClientConfig.InsecureSkipVerify = true // asked for by the field "insecure"
	c := &Client{Options: o, strict: strict, insecure: insecure, seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "argocd_appset_rollout_analysis_query_seconds", Help: "Duration of measurements by outcome.", Buckets: prometheus.ExponentialBuckets(0.005, 4, 7),
	}, []string{"result"})}
	o.Registerer.MustRegister(c.seconds)
	return c
}

// Request is one measurement to make.
type Request struct {
	Metric  analysis.Metric
	Subject analysis.Subject
	// Secrets are the values of the headers that come from Secrets, by the
	// header's key. They are never shown.
	Secrets map[string]string
}

// Measure makes one measurement. When ctx ends first the outcome is Error.
func (c *Client) Measure(ctx context.Context, r Request) analysis.Measurement {
	begin := c.Clock.Now()
	m := c.measure(ctx, r)
	c.seconds.WithLabelValues(string(m.Outcome)).Observe(c.Clock.Since(begin).Seconds())
	c.Log.Debug("measured", "applicationset", r.Subject.Namespace+"/"+r.Subject.ApplicationSet, "rollout", r.Subject.RolloutID,
		"application", r.Subject.Application, "metric", r.Metric.Name, "outcome", string(m.Outcome), "value", m.Value, "message", m.Message)
	return m
}

func (c *Client) measure(ctx context.Context, r Request) analysis.Measurement {
	failed := func(format string, args ...any) analysis.Measurement {
		return analysis.Measurement{Outcome: analysis.Error, Message: fmt.Sprintf(format, args...)}
	}
	if !c.Providers.Permits(r.Metric.Address) {
		return failed("%s is not on the list of --allowed-analysis-providers", r.Metric.Address)
	}
	query, err := r.Metric.Query.Fill(r.Subject.Arguments())
	if err != nil {
		return failed("query: %s", err)
	}
	header, hidden, err := headers(r)
	if err != nil {
		return failed("%s", err)
	}
	base := c.strict
	if r.Metric.Insecure {
		base = c.insecure
	}
	client, err := api.NewClient(api.Config{Address: r.Metric.Address, Client: &http.Client{
		Transport: &guard{base: base, header: header}, CheckRedirect: refuseRedirect,
	}})
	if err != nil {
		return failed("address %s cannot be used", r.Metric.Address)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Metric.Timeout)
	defer cancel()
	value, warnings, err := prom.NewAPI(client).Query(ctx, query, time.Time{}, prom.WithTimeout(r.Metric.Timeout))
	if err != nil {
		return failed("%s: %s", r.Metric.Address, words(ctx, err, hidden))
	}
	if len(warnings) > 0 {
		c.Log.Warn("the answer of a measurement came with warnings", "metric", r.Metric.Name, "address", r.Metric.Address, "warning", redact(warnings[0], hidden))
	}
	sample, err := read(value)
	if err != nil {
		return failed("%s: %s", r.Metric.Address, err)
	}
	return r.Metric.Judge(sample)
}

// headers puts the headers of a request together; hidden are their values.
func headers(r Request) (header http.Header, hidden []string, err error) {
	header = http.Header{}
	for _, h := range r.Metric.Headers {
		value := h.Value
		if h.ValueFrom != nil {
			given, ok := r.Secrets[h.Key]
			if !ok {
				return nil, nil, fmt.Errorf("header %s: Secret %s has no key %s, or may not be used", h.Key, h.ValueFrom.SecretName, h.ValueFrom.Key)
			}
			value = strings.TrimRight(given, "\r\n")
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, nil, fmt.Errorf("header %s: its value holds a line break", h.Key)
		}
		header.Set(h.Key, value)
		hidden = append(hidden, value)
		if _, token, ok := strings.Cut(value, " "); ok {
			hidden = append(hidden, token) // "Bearer TOKEN"
		}
	}
	return header, hidden, nil
}

// guard adds the headers to a request and bounds the answer.
type guard struct {
	base   http.RoundTripper
	header http.Header
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range g.header {
		r.Header[k] = v
	}
	response, err := g.base.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // a transport passes errors on
	}
	response.Body = &bounded{ReadCloser: response.Body, left: maxBody}
	return response, nil
}

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB: aggregate in the query, for example with sum()", maxBody>>20)

// bounded fails when more is read than allowed.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err //nolint:wrapcheck // io.EOF must stay itself
}

var errRedirect = errors.New("answers with a redirect, which is not followed: give the final address")

func refuseRedirect(*http.Request, []*http.Request) error { return errRedirect }

// read takes the numbers out of an answer.
func read(value model.Value) (analysis.Sample, error) {
	switch v := value.(type) {
	case *model.Scalar:
		return analysis.Sample{Values: []float64{float64(v.Value)}, Scalar: true}, nil
	case model.Vector:
		out := analysis.Sample{}
		for _, s := range v {
			if s.Histogram != nil {
				return out, errors.New("the query returns a histogram: use histogram_quantile() or histogram_sum()")
			}
			out.Values = append(out.Values, float64(s.Value))
		}
		return out, nil
	}
	return analysis.Sample{}, fmt.Errorf("the query returns a %s: it must return an instant vector or a number", value.Type())
}

// words says what went wrong: never the body of an answer, never a header.
func words(ctx context.Context, err error, hidden []string) string {
	var answer *prom.Error
	var transport *url.Error
	text := ""
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		text = "no answer within the timeout"
	case errors.Is(err, errRedirect):
		text = errRedirect.Error()
	case errors.Is(err, errTooLarge):
		text = errTooLarge.Error()
	case errors.As(err, &answer):
		text = fmt.Sprintf("%s: %s", answer.Type, answer.Msg)
	case errors.As(err, &transport):
		text = transport.Err.Error()
	default:
		text = "the answer cannot be read: " + err.Error()
	}
	return redact(text, hidden)
}

func redact(text string, hidden []string) string {
	for _, h := range hidden {
		if h != "" {
			text = strings.ReplaceAll(text, h, "***")
		}
	}
	text = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text), "?")
	if len(text) > maxWords {
		return strings.ToValidUTF8(text[:maxWords], "") + "..."
	}
	return text
}
