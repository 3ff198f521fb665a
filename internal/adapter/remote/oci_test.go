package remote_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	registry "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// registryServer is the registry of Debian's package docker-registry, with a
// password and TLS.
type registryServer struct {
	host, ca string
	client   *auth.Client
}

func startRegistry(t *testing.T) *registryServer {
	t.Helper()
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	_ = listener.Close()
	certificate, pool := selfSigned(t, dir)
	users, err := exec.Command("htpasswd", "-nbB", "reader", canary).Output()
	if err != nil {
		t.Fatalf("htpasswd (Debian package apache2-utils): %v", err)
	}
	config := fmt.Sprintf(`version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: %[1]s/data}}
http: {addr: "%[2]s", tls: {certificate: %[1]s/cert.pem, key: %[1]s/key.pem}}
auth: {htpasswd: {realm: test, path: %[1]s/users}}
`, dir, host)
	for name, content := range map[string][]byte{"config.yml": []byte(config), "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("docker-registry (Debian package of this name): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = pool
	client := &auth.Client{Client: &http.Client{Transport: transport}, Credential: auth.StaticCredential(host, auth.Credential{Username: "reader", Password: canary})}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host); err == nil {
			_ = c.Close()
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the registry did not start: %s", log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return &registryServer{host, certificate, client}
}

func selfSigned(t *testing.T, dir string) (string, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, content := range map[string][]byte{"cert.pem": certificate, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: rawKey})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return string(certificate), pool
}

// push stores an artifact with one layer and gives its digest.
func (s *registryServer) push(t *testing.T, name, tag, configType, layerType string, raw []byte) string {
	t.Helper()
	where, err := registry.NewRepository(s.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	where.Client = s.client
	blob := func(kind string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: kind, Digest: digest256(content), Size: int64(len(content))}
		if err := where.Blobs().Push(t.Context(), d, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: blob(configType, []byte("{}")), Layers: []ocispec.Descriptor{blob(layerType, raw)}}
	m.SchemaVersion, m.Annotations = 2, map[string]string{"org.opencontainers.image.version": tag}
	manifest, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest256(manifest), Size: int64(len(manifest))}
	if err := where.Manifests().PushReference(t.Context(), d, bytes.NewReader(manifest), tag); err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

func digest256(raw []byte) godigest.Digest { return godigest.FromBytes(raw) }

const (
	chartConfig = "application/vnd.cncf.helm.config.v1+json"
	chartLayer  = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	tarLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

func TestChartsAndArtifactsOfARegistry(t *testing.T) {
	s := startRegistry(t)
	for _, v := range []string{"1.0.0", "1.2.0", "2.0.0-rc.1", "1.2.1+build"} {
		s.push(t, "charts/web", strings.ReplaceAll(v, "+", "_"), chartConfig, chartLayer, pack(t, "web", v, nil))
	}
	first := s.push(t, "config/shop", "v1.0.0", "application/vnd.oci.empty.v1+json", tarLayer, pack(t, "app", "0.0.1", map[string]string{"cm.yaml": "one"}))
	second := s.push(t, "config/shop", "v1.1.0", "application/vnd.oci.empty.v1+json", tarLayer, pack(t, "app", "0.0.1", map[string]string{"cm.yaml": "two"}))
	s.push(t, "config/shop", "latest", "application/vnd.oci.empty.v1+json", tarLayer, pack(t, "app", "0.0.1", map[string]string{"cm.yaml": "two"}))
	s.push(t, "config/image", "v1", "application/vnd.oci.image.config.v1+json", "application/x-other", []byte("x"))

	t.Run("charts", func(t *testing.T) {
		for _, r := range []repo.Repository{
			{URL: s.host + "/charts", EnableOCI: true, Username: "reader", Password: canary, CAData: s.ca},
			{URL: "oci://" + s.host + "/charts", Username: "reader", Password: canary, CAData: s.ca},
		} {
			f := fetcher(t, remote.Options{})
			for text, want := range map[string]string{"1.0.0": "1.0.0", "^1": "1.2.1+build", ">=2.0.0-0": "2.0.0-rc.1", "1.2.1+build": "1.2.1+build", "": "1.2.1+build"} {
				c, err := f.Chart(t.Context(), remote.Chart{Repository: r, Name: "web", Versions: text})
				if err != nil {
					t.Errorf("%q: %v", text, err)
					continue
				}
				if raw, err := c.ReadFile("Chart.yaml"); c.Revision() != want || err != nil || !strings.Contains(string(raw), want) {
					t.Errorf("%q: version %s, %s, %v; want %s", text, c.Revision(), raw, err, want)
				}
			}
		}
	})
	artifact := repo.Repository{URL: "oci://" + s.host + "/config/shop", Username: "reader", Password: canary, CAData: s.ca}
	t.Run("artifacts", func(t *testing.T) {
		f := fetcher(t, remote.Options{})
		for revision, want := range map[string]string{"v1.0.0": first, "~1.1": second, first: first, ">=1.0.0 <1.1.0": first} {
			got, err := f.ResolveArtifact(t.Context(), artifact, revision)
			if err != nil || got != want {
				t.Errorf("%q: %s, %v; want %s", revision, got, err, want)
				continue
			}
			if said, err := f.Annotations(t.Context(), artifact, first); err != nil || said["org.opencontainers.image.version"] != "v1.0.0" {
				t.Errorf("annotations %v, %v", said, err)
			}
			a, err := f.Artifact(t.Context(), artifact, got)
			if err != nil {
				t.Errorf("%q: %v", revision, err)
				continue
			}
			if raw, err := a.ReadFile("app/cm.yaml"); err != nil || string(raw) != map[string]string{first: "one", second: "two"}[want] {
				t.Errorf("%q: %s, %v", revision, raw, err)
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		wrong, none, plain := artifact, artifact, artifact
		wrong.Password, none.Username, none.Password, plain.CAData = canary+"x", "", "", ""
		for name, c := range map[string]struct {
			r              repo.Repository
			revision, want string
		}{
			"wrong password": {wrong, "v1.0.0", "refused the credentials"},
			"no password":    {none, "v1.0.0", "asks for credentials"},
			"unknown CA":     {plain, "v1.0.0", "certificate"},
			"no such tag":    {artifact, "v9.9.9", "not found"},
			"no such range":  {artifact, "^9", "version matching constraint"},
			"no range":       {artifact, "a b c", "neither a version nor a range"},
			"injection":      {artifact, "../../x", "neither a version nor a range"},
			"no layer":       {repo.Repository{URL: "oci://" + s.host + "/config/image", Username: "reader", Password: canary, CAData: s.ca}, "v1", "has 0 layers"},
			"no repository":  {repo.Repository{URL: "oci://" + s.host + "/config/gone", Username: "reader", Password: canary, CAData: s.ca}, "v1", "not found"},
		} {
			f := fetcher(t, remote.Options{})
			id, err := f.ResolveArtifact(t.Context(), c.r, c.revision)
			if err == nil {
				_, err = f.Artifact(t.Context(), c.r, id)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "oci://") {
				t.Errorf("%s: error %v, want %q", name, err, c.want)
			}
		}
	})
}
