package session

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/sso"
)

func TestDexProxy(t *testing.T) {
	var seen *http.Request
	dex := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		if r.URL.Path == "/api/dex/broken" {
			http.Error(w, "stack trace", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}))
	defer dex.Close()
	to, err := url.Parse(dex.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := &sso.Config{Dex: true}
	front := httptest.NewServer(newDexProxy(dexAt{url: to}, "/cd", func() *sso.Config { return config }, slog.New(slog.NewTextHandler(io.Discard, nil))))
	defer front.Close()
	get := func(path string) (status int, body, location string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"argocd.token": "canary", "argocd.token-1": "canary", "argocd.sso": "canary", "dex": "own"} {
			q.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		q.Header.Set("Authorization", "Bearer canary")
		res, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(raw), res.Header.Get("Location")
	}
	if _, body, _ := get("/api/dex/auth?x=1"); body != "/api/dex/auth?x=1" {
		t.Errorf("passed on as %s", body)
	}
	if got := seen.Header.Get("Cookie") + seen.Header.Get("Authorization"); got != "dex=own" {
		t.Errorf("Dex sees %q", got)
	}
	if status, body, to := get("/api/dex/broken"); status != http.StatusSeeOther || to != "/cd/login?has_sso_error=true" || body != "" {
		t.Errorf("a failure: %d %s %s", status, to, body)
	}
	dex.Close()
	if status, _, _ := get("/api/dex/auth"); status != http.StatusSeeOther {
		t.Errorf("Dex is away: %d", status)
	}
	config = nil
	if status, _, _ := get("/api/dex/auth"); status != http.StatusNotFound {
		t.Errorf("without Dex: %d", status)
	}
}
