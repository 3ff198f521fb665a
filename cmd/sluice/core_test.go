package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestDashboardIsNobodyElses: a name that a stranger lets lead to this machine
// is not answered.
func TestDashboardIsNobodyElses(t *testing.T) {
	t.Parallel()
	h := forHost("desk.example.com", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for host, want := range map[string]int{
		"localhost:8080": 200, "localhost": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "10.0.0.7:8080": 200, "Desk.example.com:8080": 200,
		"evil.example.com:8080": 421, "localhost.evil.example.com": 421, "127.0.0.1.evil.example.com:80": 421, "": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/api/version", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}
