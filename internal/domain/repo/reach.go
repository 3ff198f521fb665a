package repo

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// TLS is whom to trust at the repository, and who asks. It fails for a
// declaration that cannot be used, without a word of its content.
func (r Repository) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: r.Insecure} //nolint:gosec // the owner of the repository asked for it
	if r.CAData != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(r.CAData)) {
			return nil, errors.New("the entry of the host in argocd-tls-certs-cm holds no PEM certificate")
		}
	}
	if r.TLSClientCertData != "" {
		pair, err := tls.X509KeyPair([]byte(r.TLSClientCertData), []byte(r.TLSClientCertKey.Reveal()))
		if err != nil {
			return nil, errors.New("tlsClientCertData and tlsClientCertKey in the Secret of the repository are not a certificate and its key")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Via says which proxy leads to a URL, nil for none: that of the declaration,
// else that of the environment ("KEY=value"; HTTP_PROXY, HTTPS_PROXY and
// NO_PROXY, in either case). Hosts of this machine are reached without one.
func (r Repository) Via(environment []string) func(*url.URL) (*url.URL, error) {
	c := &httpproxy.Config{}
	for _, kv := range environment {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" { // http_proxy= does not take HTTP_PROXY away
			continue
		}
		switch strings.ToUpper(name) {
		case "HTTP_PROXY":
			c.HTTPProxy = value
		case "HTTPS_PROXY":
			c.HTTPSProxy = value
		case "NO_PROXY":
			c.NoProxy = value
		}
	}
	if r.Proxy != "" {
		c.HTTPProxy, c.HTTPSProxy = r.Proxy.Reveal(), r.Proxy.Reveal()
	}
	if r.NoProxy != "" {
		c.NoProxy = r.NoProxy
	}
	find, usable := c.ProxyFunc(), r.Proxy == "" || proxyURL(r.Proxy.Reveal())
	return func(u *url.URL) (*url.URL, error) {
		if !usable { // the library would go without; its words would hold the URL
			return nil, errors.New("the proxy of the repository is not a URL: write it as http://HOST:PORT")
		}
		return find(u)
	}
}

// proxyURL says that the text is a URL, or the host and port of one.
func proxyURL(text string) bool {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	return err == nil && u.Host != ""
}
