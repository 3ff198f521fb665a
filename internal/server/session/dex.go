package session

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-cd/sluice/internal/domain/sso"
)

// dexProxy passes /api/dex on to the Dex beside the server.
type dexProxy struct {
	proxy    *httputil.ReverseProxy
	provider func() *sso.Config
	base     string
}

// maxDexBody bounds what browsers send to Dex, in bytes.
const maxDexBody = 1 << 20

// dexAt is where Dex is.
type dexAt struct {
	url    *url.URL
	strict bool
}

// newDexProxy makes the proxy; base is the base href of the UI.
func newDexProxy(to dexAt, base string, provider func() *sso.Config, log *slog.Logger) *dexProxy {
	d := &dexProxy{provider: provider, base: "/" + strings.Trim(base, "/")}
	transport := http.DefaultTransport
	if t, ok := transport.(*http.Transport); ok {
		t = t.Clone()
		t.ResponseHeaderTimeout = 30 * time.Second
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !to.strict} // dex.server.strict.tls
		transport = t
	}
	failed := strings.TrimRight(d.base, "/") + "/login?has_sso_error=true"
	d.proxy = &httputil.ReverseProxy{
		Transport: transport, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to.url)
			p.Out.Host = p.In.Host
			p.SetXForwarded()
			p.Out.Header.Del("Authorization")
			p.Out.Header.Del("Cookie") // Dex has its own, and none of ours
			for _, c := range p.In.Cookies() {
				if !strings.HasPrefix(c.Name, "argocd.") {
					p.Out.AddCookie(c)
				}
			}
			if p.In.Header.Get("Authorization") != "" && strings.HasPrefix(p.In.Header.Get("Authorization"), "Basic ") {
				p.Out.Header.Set("Authorization", p.In.Header.Get("Authorization")) // clients of Dex at its token endpoint
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusInternalServerError {
				_ = r.Body.Close() // its text is for the log of Dex
				r.StatusCode, r.Status, r.Body, r.ContentLength = http.StatusSeeOther, "", http.NoBody, 0
				r.Header = http.Header{"Location": {failed}}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			log.Error("Dex does not answer", "error", err.Error())
			http.Redirect(w, r, failed, http.StatusSeeOther)
		},
	}
	return d
}

// ServeHTTP passes a request on, while logins by Dex are configured.
func (d *dexProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c := d.provider(); c == nil || !c.Dex {
		http.NotFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxDexBody)
	d.proxy.ServeHTTP(w, r)
}
