package main

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
)

// downloads are the pages from which people and pipelines fetch the command line
// that fits the server (spec/api.md §4): the program beside this one, or this
// one, which is a command line too. There is one for the machine of the server.
func downloads(executable func() (string, error)) map[string]http.Handler {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, err := executable()
		if err != nil || runtime.GOOS != "linux" {
			http.NotFound(w, r)
			return
		}
		for _, file := range []string{filepath.Join(filepath.Dir(own), "sluice"), own} {
			program, err := os.Open(file) //nolint:gosec // nothing of the request is in the name
			if err != nil {
				continue
			}
			defer func() { _ = program.Close() }() // it is only read
			if info, err := program.Stat(); err == nil && info.Mode().IsRegular() {
				w.Header().Set("Content-Type", "application/octet-stream")
				w.Header().Set("Content-Disposition", `attachment; filename="argocd"`)
				http.ServeContent(w, r, "", info.ModTime(), program)
				return
			}
		}
		http.NotFound(w, r)
	})
	return map[string]http.Handler{"GET /download/argocd-linux": page, "GET /download/argocd-linux-" + runtime.GOARCH: page}
}
