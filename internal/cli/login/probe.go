package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/sluice-cd/sluice/internal/cli/client"
	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// probeTime bounds the look at a server before a password is sent.
const probeTime = 30 * time.Second

// probe looks whether the server speaks TLS and is who it says it is, and asks
// what to do when not (spec/cli.md §1.4.4).
func probe(ctx context.Context, c *console.Console, o *client.Options) error {
	settings, err := client.TLS(*o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	dialer := &tls.Dialer{NetDialer: &net.Dialer{}, Config: settings}
	conn, err := dialer.DialContext(ctx, "tcp", hostPort(o.Server))
	if err == nil {
		return conn.Close()
	}
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var name x509.HostnameError
	switch {
	case errors.As(err, &record):
		ok, err := c.Confirm("WARNING: server is not configured with TLS. Proceed (y/n)? ")
		if err != nil || !ok {
			return stopped(err)
		}
		o.PlainText = true
		return nil
	case errors.As(err, &certificate), errors.As(err, &name):
		ok, err := c.Confirm("WARNING: server certificate had error: " + err.Error() + ". Proceed insecurely (y/n)? ")
		if err != nil || !ok {
			return stopped(err)
		}
		o.Insecure = true
		return nil
	}
	return &client.ConnectionError{Server: o.Server, Err: err, Remedy: "check the address; behind a proxy that speaks no TLS use --plaintext, or --skip-test-tls"}
}

func stopped(err error) error {
	if err != nil {
		return &fail.Error{Code: fail.Failure, Err: err, Remedy: "in a script, say it with --insecure, --plaintext or --server-crt"}
	}
	return fail.Silent(fail.Failure)
}
