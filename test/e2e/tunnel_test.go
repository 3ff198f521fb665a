package e2e

import (
	"io"
	"net"
	"net/http"
)

func proxyAuth(r *http.Request) (user, password string, ok bool) {
	r2 := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	return r2.BasicAuth()
}

func tunnel(w http.ResponseWriter, host string) {
	far, err := net.Dial("tcp", host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	near, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	_, _ = buffer.WriteString("HTTP/1.1 200 OK\r\n\r\n")
	_ = buffer.Flush()
	go func() { _, _ = io.Copy(far, buffer); _ = far.Close() }()
	go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
}
