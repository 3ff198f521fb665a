package rest

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestHistogramOfHandling: grpc_server_handling_seconds is there when it is
// asked for, and only then.
func TestHistogramOfHandling(t *testing.T) {
	for _, on := range []bool{true, false} {
		r := start(t, func(o *Options) { o.Histogram = on })
		r.ask(t, "GET", "/api/v1/things/a", "")
		families, err := r.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		seen := uint64(0)
		for _, f := range families {
			if f.GetName() == "grpc_server_handling_seconds" {
				seen += f.GetMetric()[0].GetHistogram().GetSampleCount()
			}
		}
		if (seen == 1) != on || !on && seen != 0 {
			t.Errorf("asked for: %v, calls that are measured: %d", on, seen)
		}
	}
}

// TestTLSIsBounded: versions and ciphers of a handshake are those that were
// chosen.
func TestTLSIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		options ServeOptions
		want    uint16
		proto   string
	}{
		"highest":         {ServeOptions{MaxTLS: tls.VersionTLS12}, tls.VersionTLS12, "h2"},
		"library's own":   {ServeOptions{}, tls.VersionTLS13, "h2"},
		"cipher of 1.2":   {ServeOptions{MaxTLS: tls.VersionTLS12, Ciphers: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}}, tls.VersionTLS12, "h2"},
		"old cipher":      {ServeOptions{MaxTLS: tls.VersionTLS12, Ciphers: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}, tls.VersionTLS12, "http/1.1"},
		"never below 1.2": {ServeOptions{MinTLS: tls.VersionTLS10}, tls.VersionTLS13, "h2"},
	} {
		config := c.options.tls()
		if config.MinVersion < tls.VersionTLS12 {
			t.Errorf("%s: TLS %x is taken", name, config.MinVersion)
		}
		address, end := servedWith(t, c.options, http.NotFoundHandler())
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}) //nolint:gosec // a certificate of the test
		if err != nil {
			t.Fatal(err)
		}
		state := conn.ConnectionState()
		if state.Version != c.want || state.NegotiatedProtocol != c.proto || len(c.options.Ciphers) > 0 && state.CipherSuite != c.options.Ciphers[0] {
			t.Errorf("%s: TLS %x with %s, %s", name, state.Version, tls.CipherSuiteName(state.CipherSuite), state.NegotiatedProtocol)
		}
		if err := errJoin(conn.Close(), end()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
