package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// ServeOptions of a server.
type ServeOptions struct {
	Listener net.Listener
	Handler  http.Handler
	// Certificate is asked at every handshake; nil serves without TLS.
	Certificate func() (*tls.Certificate, error)
	// MinTLS is the lowest version of TLS (default 1.2), MaxTLS the highest;
	// Ciphers are those of TLS 1.2. Zero is the choice of the library.
	MinTLS, MaxTLS uint16
	Ciphers        []uint16
	// RootPath is put before the path when plain HTTP is sent on to TLS.
	RootPath string
	// Drain is how long running requests may take when the server stops
	// (default 20 s).
	Drain time.Duration
	// Ending is called when the server begins to stop: streams end then.
	Ending func()
	Log    *slog.Logger
	Clock  clock.PassiveClock
}

// Times of connections.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	peekTimeout   = 10 * time.Second
	readTimeout   = 2 * time.Minute
	// answerTimeout is for a request as a whole; streams take it off. Without it
	// the deadline of one answer would hold for the next on its connection.
	answerTimeout = 4 * time.Minute
)

// Serve answers on the listener until ctx ends, and then lets running requests
// finish.
func Serve(ctx context.Context, o ServeOptions) error {
	if o.Drain == 0 {
		o.Drain = 20 * time.Second
	}
	server := &http.Server{
		Handler: o.Handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 128 << 10,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	server.Protocols = &http.Protocols{}
	server.Protocols.SetHTTP1(true)
	ended := make(chan error, 2)
	servers := []*http.Server{server}
	if o.Certificate == nil {
		server.Protocols.SetUnencryptedHTTP2(true)
		go func() { ended <- server.Serve(o.Listener) }()
	} else {
		server.Protocols.SetHTTP2(true)
		server.TLSConfig = o.tls()
		split := newSplitter(o.Listener, o.Clock)
		plain := &http.Server{Handler: redirect(o.RootPath), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: headerTimeout, ErrorLog: server.ErrorLog}
		servers = append(servers, plain)
		go split.run()
		go func() { ended <- server.ServeTLS(split.secure, "", "") }()
		go func() { ended <- plain.Serve(split.plain) }()
	}
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	if o.Ending != nil {
		o.Ending()
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Drain)
	defer cancel()
	for _, s := range servers {
		if err := s.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
			o.Log.Warn("requests were cut off at the end", "drain", o.Drain.String())
			_ = s.Close() // ends what is left
		}
	}
	return nil
}

func (o *ServeOptions) tls() *tls.Config {
	lowest := o.MinTLS
	if lowest < tls.VersionTLS12 {
		lowest = tls.VersionTLS12
	}
	config := &tls.Config{MinVersion: lowest, MaxVersion: o.MaxTLS, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.Certificate() }}
	if len(o.Ciphers) == 0 {
		return config
	}
	// The library serves no HTTP/2 at all over ciphers that lack one which the
	// protocol once demanded; so it sees none, and every handshake does.
	chosen := config.Clone()
	chosen.CipherSuites, chosen.NextProtos = o.Ciphers, []string{"h2", "http/1.1"}
	if slices.ContainsFunc(o.Ciphers, outdated) {
		chosen.NextProtos = chosen.NextProtos[1:]
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
	return config
}

// outdated says that HTTP/2 forbids a cipher (RFC 9113, appendix A).
func outdated(cipher uint16) bool {
	name := tls.CipherSuiteName(cipher)
	return !strings.Contains(name, "_GCM_") && !strings.Contains(name, "_CHACHA20_")
}

// redirect sends plain HTTP on to TLS (spec/api.md, head).
func redirect(root string) http.Handler {
	root = strings.Trim(root, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if root != "" && path != "/"+root && !strings.HasPrefix(path, "/"+root+"/") {
			path = "/" + root + path
		}
		target := "https://" + r.Host + path
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	})
}

// splitter tells TLS from plain HTTP by the first byte of a connection.
type splitter struct {
	from          net.Listener
	clock         clock.PassiveClock
	secure, plain *branch
}

// branch is the listener of one kind of connection.
type branch struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	close func() error
}

// recordTypeHandshake is the first byte of every TLS connection.
const recordTypeHandshake = 0x16

func newSplitter(l net.Listener, clk clock.PassiveClock) *splitter {
	done := make(chan struct{})
	var once sync.Once
	end := func() (err error) {
		once.Do(func() {
			close(done)
			err = l.Close()
		})
		return err
	}
	make := func() *branch {
		return &branch{addr: l.Addr(), conns: make(chan net.Conn), done: done, close: end}
	}
	return &splitter{from: l, clock: clk, secure: make(), plain: make()}
}

// maxUndecided bounds connections that have sent nothing yet.
const maxUndecided = 1000

func (s *splitter) run() {
	var undecided atomic.Int64
	for {
		conn, err := s.from.Accept()
		if err != nil {
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			_ = s.secure.close() // both servers see it
			return
		}
		if undecided.Add(1) > maxUndecided {
			undecided.Add(-1)
			_ = conn.Close() // too many that say nothing
			continue
		}
		go func() {
			defer undecided.Add(-1)
			s.sort(conn)
		}()
	}
}

func (s *splitter) sort(conn net.Conn) {
	reader := bufio.NewReaderSize(conn, 4096)
	_ = conn.SetReadDeadline(s.clock.Now().Add(peekTimeout)) // a dead connection fails at Peek
	first, err := reader.Peek(1)
	if err != nil || conn.SetReadDeadline(time.Time{}) != nil {
		_ = conn.Close() // it said nothing
		return
	}
	to := s.plain
	if first[0] == recordTypeHandshake {
		to = s.secure
	}
	select {
	case to.conns <- peeked{Conn: conn, reader: reader}:
	case <-to.done:
		_ = conn.Close() // the server stops
	}
}

// peeked is a connection whose first bytes are in a buffer.
type peeked struct {
	net.Conn
	reader *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// Accept waits for a connection of the kind.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

// Close ends both kinds.
func (b *branch) Close() error { return b.close() }

// Addr is that of the port.
func (b *branch) Addr() net.Addr { return b.addr }
