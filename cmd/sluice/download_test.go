package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestDownloads: the command line beside the server is handed out, or else the
// server's own program; for other machines there is none.
func TestDownloads(t *testing.T) {
	dir := t.TempDir()
	engine := filepath.Join(dir, "sluice-engine")
	where := func() (string, error) { return engine, nil }
	ask := func(path string) (int, string) {
		mux := http.NewServeMux()
		for pattern, page := range downloads(func() (string, error) { return where() }) {
			mux.Handle(pattern, page)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	own := "/download/argocd-linux-" + runtime.GOARCH
	if code, _ := ask(own); code != http.StatusNotFound {
		t.Errorf("without a program: %d", code)
	}
	for _, step := range []string{"sluice-engine", "sluice"} {
		if err := os.WriteFile(filepath.Join(dir, step), []byte("program "+step), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{own, "/download/argocd-linux"} {
			if code, body := ask(path); code != http.StatusOK || body != "program "+step {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
	}
	for _, path := range []string{"/download/argocd-linux-vax", "/download/argocd-windows-amd64.exe", "/download/..%2Fsluice"} {
		if code, _ := ask(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	where = func() (string, error) { return "", errors.New("nobody knows") }
	if code, _ := ask(own); code != http.StatusNotFound {
		t.Errorf("a program that nobody knows: %d", code)
	}
}
