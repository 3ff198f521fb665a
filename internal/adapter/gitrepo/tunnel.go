package gitrepo

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// TunnelCommand is the hidden command of the binary that runs Tunnel; its
// arguments are the file with the URL of the proxy, and host:port.
const TunnelCommand = "ssh-tunnel"

// tunnelTimeout bounds the way through a proxy, not what goes over it.
const tunnelTimeout = 10 * time.Second

// Tunnel connects in and out with an address through the proxy whose URL is in
// a file: what ssh starts as its ProxyCommand. It ends with either side.
func Tunnel(ctx context.Context, file, address string, in io.Reader, out io.Writer) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return errors.New("ssh through a proxy: the URL of the proxy cannot be read")
	}
	via, err := url.Parse(strings.TrimSpace(string(raw)))
	if err != nil {
		return errors.New("ssh through a proxy: proxy in the Secret of the repository is not a URL")
	}
	bounded, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	conn, err := through(bounded, via, address)
	if err != nil {
		return fmt.Errorf("ssh through proxy %s: %w", via.Host, err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(conn, in) // the other direction tells how it ended
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	_, err = io.Copy(out, conn)
	return err
}

// through opens a connection to an address behind a proxy.
func through(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	switch via.Scheme {
	case "socks5", "socks5h":
		var auth *proxy.Auth
		if via.User != nil {
			password, _ := via.User.Password()
			auth = &proxy.Auth{User: via.User.Username(), Password: password}
		}
		d, err := proxy.SOCKS5("tcp", withPort(via, "1080"), auth, &net.Dialer{})
		if err != nil {
			return nil, err
		}
		return d.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	case "http", "https":
		return connectThrough(ctx, via, address)
	}
	return nil, fmt.Errorf("the scheme %q is not known: write http, https or socks5", via.Scheme)
}

func withPort(u *url.URL, port string) string {
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// connectThrough asks an HTTP proxy for a tunnel.
func connectThrough(ctx context.Context, via *url.URL, address string) (net.Conn, error) {
	port := map[string]string{"http": "80", "https": "443"}[via.Scheme]
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", withPort(via, port))
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // of the way only, see below
	}
	if via.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: via.Hostname()})
	}
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if via.User != nil {
		password, _ := via.User.Password()
		r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+password)))
	}
	if err := r.Write(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	buffer := bufio.NewReader(conn)
	answer, err := http.ReadResponse(buffer, r)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("it answered %d: check user and password of the proxy, and that it lets ssh through", answer.StatusCode), conn.Close())
	}
	return &tunneled{conn, buffer}, conn.SetDeadline(time.Time{})
}

// tunneled is a connection of which a part has been read already.
type tunneled struct {
	net.Conn
	buffer *bufio.Reader
}

func (t *tunneled) Read(p []byte) (int, error) { return t.buffer.Read(p) }

// sshProxy is the way of ssh to a host: the declared proxy unless the host is
// excepted; "" is directly.
func sshProxy(r repo.Repository, address repo.Address) string {
	if address.Scheme != "ssh" || excepted(address.Host, r.NoProxy) {
		return ""
	}
	return r.Proxy.Reveal()
}

// excepted says that a list of hosts, domains and networks names a host.
func excepted(host, noProxy string) bool {
	at, err := netip.ParseAddr(host)
	for _, one := range strings.Split(noProxy, ",") {
		one = strings.ToLower(strings.TrimSpace(one))
		domain := strings.TrimPrefix(strings.TrimPrefix(one, "*"), ".")
		switch {
		case one == "":
		case one == "*", one == host, domain != "" && (host == domain || strings.HasSuffix(host, "."+domain)):
			return true
		case err == nil:
			if network, netErr := netip.ParsePrefix(one); netErr == nil && network.Contains(at) {
				return true
			}
		}
	}
	return false
}
