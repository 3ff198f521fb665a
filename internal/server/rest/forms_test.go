package rest

import (
	"fmt"
	"net/http"
	"testing"
)

// TestFormsReachDex: Dex is sent forms, also by the pages of providers; no other
// path takes them for it.
func TestFormsReachDex(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *Options) {
		o.Pages = map[string]http.Handler{"/api/dex/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "dex") })}
	})
	form := []string{"Content-Type: application/x-www-form-urlencoded", "Origin: https://provider.example", "Sec-Fetch-Site: cross-site"}
	for path, status := range map[string]int{
		"/api/dex/token": 200, "/api/dex/auth/local/login?state=x": 200, "/api/dex/callback/": 200,
		"/api/v1/things/a": 415, "/api/dex": 415, "/api/dexter/x": 415, "/api/dex/%2e%2e/v1/things/a": 415,
		"/api/dex/../v1/things/a": 307, "/api/dex//../../v1/things/a": 307, // sent to what they mean, which refuses them
	} {
		if got, body := r.ask(t, http.MethodPost, path, "a=b", form...); got.StatusCode != status {
			t.Errorf("POST %s: %d %s, want %d", path, got.StatusCode, body, status)
		}
	}
	if got, body := r.ask(t, http.MethodPost, "/api/v1/things/a", "{}", "Origin: https://provider.example", "Sec-Fetch-Site: cross-site"); got.StatusCode != http.StatusForbidden {
		t.Errorf("another site sends JSON: %d %s", got.StatusCode, body)
	}
}
