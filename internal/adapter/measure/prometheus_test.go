package measure_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/crypto/bcrypt"
)

// password is what the protected server wants; it must never be seen.
const password = "correct-horse-battery"

// server is a real Prometheus server that scrapes an endpoint of the test.
type server struct {
	address string
	gauge   *prometheus.GaugeVec
}

// options of a server: with a password and TLS, or open.
type options struct{ protected bool }

// startPrometheus runs the program until the test ends and waits until it has
// scraped once.
func startPrometheus(t *testing.T, o options) *server {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("the program prometheus is missing: install the Debian package prometheus (%v)", err)
	}
	s := &server{gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "errors_ratio", Help: "For the test."}, []string{"cluster"})}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.gauge)
	s.gauge.WithLabelValues("eu").Set(0.01)
	s.gauge.WithLabelValues("us").Set(0.5)
	endpoint := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(endpoint.Close)

	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs:\n- job_name: test\n  static_configs: [{targets: [%q]}]\n", endpoint.Listener.Addr().String())
	write(t, dir, "prometheus.yml", []byte(config))
	web := ""
	scheme := "http"
	if o.protected {
		scheme, web = "https", webConfig(t, dir)
	}
	write(t, dir, "web.yml", []byte(web))

	port := freePort(t)
	s.address = fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)
	var log bytes.Buffer
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--web.config.file="+filepath.Join(dir, "web.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port), "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("prometheus:\n%s", log.String())
		}
	})
	s.await(t, ended)
	return s
}

// await returns when the server has data.
func (s *server) await(t *testing.T, ended chan error) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the test's own server
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address+"/api/v1/query?query=errors_ratio", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("sluice", password)
		if response, err := client.Do(request); err == nil {
			var body bytes.Buffer
			_, _ = body.ReadFrom(response.Body)
			_ = response.Body.Close()
			if bytes.Contains(body.Bytes(), []byte(`"cluster":"eu"`)) {
				return
			}
		}
		select {
		case <-tick.C:
		case err := <-ended:
			ended <- err
			t.Fatalf("prometheus ended: %v", err)
		case <-ctx.Done():
			t.Fatal("prometheus has no data after a minute")
		}
	}
}

// webConfig asks for TLS with a certificate nobody knows, and for a password.
func webConfig(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {sluice: %q}\n", hash)
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
