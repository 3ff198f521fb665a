package remote_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktest "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

const canary = "s3cr3t-canary"

// pack makes the archive of a chart as "helm package" does.
func pack(t testing.TB, name, version string, more map[string]string) []byte {
	t.Helper()
	files := map[string]string{
		"Chart.yaml":         fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version),
		"templates/cm.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n",
		"values.schema.json": "{}",
	}
	for n, c := range more {
		files[n] = c
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for n, c := range files {
		if err := w.WriteHeader(&tar.Header{Name: name + "/" + n, Mode: 0o644, Size: int64(len(c)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// helmServer is a Helm repository over HTTP.
type helmServer struct {
	*httptest.Server
	mu      sync.Mutex
	index   string
	files   map[string][]byte
	headers map[string]http.Header // of the last request by path
	asked   map[string]int
	full    int // answers with a whole index
}

func serve(t testing.TB, username string) *helmServer {
	t.Helper()
	s := &helmServer{files: map[string][]byte{}, headers: map[string]http.Header{}, asked: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.headers[r.URL.Path] = r.Header.Clone()
		s.asked[r.URL.Path]++
		if u, p, _ := r.BasicAuth(); username != "" && (u != username || p != canary) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/charts/index.yaml" {
			etag := `"` + digest([]byte(s.index)) + `"`
			w.Header().Set("ETag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			s.full++
			_, _ = io.WriteString(w, s.index)
			return
		}
		content, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *helmServer) publish(t testing.TB, name string, versions ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == "" {
		s.index = "apiVersion: v1\nentries:\n  aaa:\n  - name: aaa\n    version: 9.9.9\n"
	}
	s.index += "  " + name + ":\n"
	for _, v := range versions {
		raw := pack(t, name, v, nil)
		file := fmt.Sprintf("%s-%s.tgz", name, v)
		s.files["/charts/"+file] = raw
		s.index += fmt.Sprintf("  - apiVersion: v2\n    digest: %s\n    name: %s\n    urls:\n    - %s\n    version: %s\n", digest(raw), name, file, v)
	}
}

func fetcher(t testing.TB, o remote.Options) *remote.Fetcher {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	f, err := remote.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestProxyOfARepository: the repository is reached through its proxy alone,
// which has its password.
func TestProxyOfARepository(t *testing.T) {
	s := serve(t, "")
	s.Start()
	s.publish(t, "web", "1.0.0")
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Proxy-Authorization") != "Basic dTpwcjB4eQ==" || q.Host != "charts.example.com" { // u:pr0xy
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		asked.Add(1)
		q.Header.Del("Proxy-Authorization")
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, q)
	}))
	t.Cleanup(proxy.Close)
	through := func(user string) string { return strings.Replace(proxy.URL, "http://", "http://"+user+"@", 1) }
	r := repo.Repository{URL: "http://charts.example.com/charts", Proxy: repo.Secret(through("u:pr0xy"))}
	chart, err := fetcher(t, remote.Options{}).Chart(t.Context(), remote.Chart{Repository: r, Name: "web", Versions: "^1"})
	if err != nil || chart.Revision() != "1.0.0" || asked.Load() != 2 {
		t.Errorf("declared: %v after %d requests, want the index and the chart", err, asked.Load())
	}
	r.Proxy = ""
	environment := []string{"http_proxy=" + through("u:pr0xy")}
	if _, err := fetcher(t, remote.Options{Environment: environment}).Chart(t.Context(), remote.Chart{Repository: r, Name: "web"}); err != nil {
		t.Errorf("of the environment: %v", err)
	}
	r.Proxy = repo.Secret(through("u:wr0ng"))
	if _, err := fetcher(t, remote.Options{}).Chart(t.Context(), remote.Chart{Repository: r, Name: "web"}); err == nil || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestVersionsOfAHelmRepository(t *testing.T) {
	s := serve(t, "")
	s.Start()
	s.publish(t, "web", "1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "v1.2.1+build", "odd")
	s.publish(t, "webbing", "7.0.0")
	f := fetcher(t, remote.Options{})
	for text, want := range map[string]string{
		"1.2.0": "1.2.0", "": "1.10.0", "*": "1.10.0", "^1.0.0": "1.10.0", "~1.2": "v1.2.1+build", ">=2.0.0-0": "2.0.0-rc.1", "odd": "odd", "1.x": "1.10.0",
		">=3": "error", "not a range!": "error",
	} {
		c := remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "web", Versions: text}
		got, err := f.ResolveChart(t.Context(), c)
		if err != nil {
			got = "error"
			if !strings.Contains(err.Error(), "chart web of "+s.URL) {
				t.Errorf("%q: error %v does not name the chart", text, err)
			}
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", text, got, err, want)
		}
	}
	c := remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts/"}, Name: "web", Versions: "^1"}
	chart, err := f.Chart(t.Context(), c)
	if err != nil || chart.Revision() != "1.10.0" {
		t.Fatalf("chart %v, %v", chart, err)
	}
	if raw, err := chart.ReadFile("Chart.yaml"); err != nil || !strings.Contains(string(raw), "1.10.0") {
		t.Errorf("Chart.yaml: %s, %v", raw, err)
	}
}

// TestIndexIsAskedForWithItsETag: within the age nobody is asked, after it
// the server answers "not modified".
func TestIndexIsAskedForWithItsETag(t *testing.T) {
	s := serve(t, "")
	s.Start()
	s.publish(t, "web", "1.0.0")
	clk := clocktest.NewFakePassiveClock(time.Unix(0, 0))
	dir := t.TempDir()
	f := fetcher(t, remote.Options{Clock: clk, Dir: dir})
	c := remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "web", Versions: "*"}
	resolve := func(f *remote.Fetcher, want string, asked, full int) {
		t.Helper()
		got, err := f.ResolveChart(t.Context(), c)
		if err != nil || got != want || s.asked["/charts/index.yaml"] != asked || s.full != full {
			t.Errorf("%s, %v after %d requests, %d whole; want %s after %d, %d", got, err, s.asked["/charts/index.yaml"], s.full, want, asked, full)
		}
	}
	resolve(f, "1.0.0", 1, 1)
	resolve(f, "1.0.0", 1, 1)
	clk.SetTime(clk.Now().Add(time.Hour))
	resolve(f, "1.0.0", 2, 1)
	s.publish(t, "other", "1.0.0")
	s.mu.Lock()
	s.index = strings.ReplaceAll(s.index, "version: 1.0.0", "version: 1.1.0")
	s.mu.Unlock()
	resolve(f, "1.0.0", 2, 1)
	f.Refresh(c.Repository)
	resolve(f, "1.1.0", 3, 2)
	resolve(fetcher(t, remote.Options{Clock: clk, Dir: dir}), "1.1.0", 4, 2) // a new process
}

func TestArchiveIsKept(t *testing.T) {
	s := serve(t, "")
	s.Start()
	s.publish(t, "web", "1.0.0")
	dir := t.TempDir()
	c := remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "web", Versions: "1.0.0"}
	for range 2 {
		if _, err := fetcher(t, remote.Options{Dir: dir}).Chart(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.asked["/charts/web-1.0.0.tgz"]; n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
}

// TestCredentials: basic auth works, a wrong one has a message without it,
// and it goes nowhere else.
func TestCredentials(t *testing.T) {
	s := serve(t, "reader")
	s.Start()
	other := serve(t, "")
	other.Start()
	s.publish(t, "web", "1.0.0")
	raw := pack(t, "away", "1.0.0", nil)
	other.files["/away.tgz"], other.files["/hop.tgz"] = raw, raw
	s.index += fmt.Sprintf("  away:\n  - name: away\n    version: 1.0.0\n    urls: [\"%s/away.tgz\"]\n", other.URL)
	r := repo.Repository{URL: s.URL + "/charts", Username: "reader", Password: canary}
	private := remote.Options{PrivateHosts: []string{"127.0.0.1"}}
	if _, err := fetcher(t, private).Chart(t.Context(), remote.Chart{Repository: r, Name: "web"}); err != nil {
		t.Fatal(err)
	}
	wrong := r
	wrong.Password = canary + "-wrong"
	_, err := fetcher(t, private).Chart(t.Context(), remote.Chart{Repository: wrong, Name: "web"})
	if err == nil || !strings.Contains(err.Error(), "refused the credentials") || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v, want the reason and no secret", err)
	}
	if _, err := fetcher(t, private).Chart(t.Context(), remote.Chart{Repository: r, Name: "away"}); err != nil {
		t.Fatal(err)
	}
	if got := other.headers["/away.tgz"].Get("Authorization"); got != "" {
		t.Errorf("another host of the index was sent %q", got)
	}
	if _, err := fetcher(t, private).Chart(t.Context(), remote.Chart{Repository: r, Name: "away", PassCredentials: true}); err != nil {
		t.Fatal(err)
	}
	if got := other.headers["/away.tgz"].Get("Authorization"); got == "" {
		t.Error("passCredentials passes nothing on")
	}
	if _, err := fetcher(t, remote.Options{}).Chart(t.Context(), remote.Chart{Repository: r, Name: "away"}); err == nil || !strings.Contains(err.Error(), "private address") {
		t.Errorf("error %v: an index may not lead inside the network", err)
	}
}

func TestRedirectLosesTheCredential(t *testing.T) {
	target := serve(t, "")
	target.Start()
	target.publish(t, "web", "1.0.0")
	var seen http.Header
	hop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		http.Redirect(w, r, target.URL+r.URL.Path, http.StatusFound)
	}))
	defer hop.Close()
	r := repo.Repository{URL: hop.URL + "/charts", Username: "u", Password: canary}
	if _, err := fetcher(t, remote.Options{}).ResolveChart(t.Context(), remote.Chart{Repository: r, Name: "web"}); err != nil {
		t.Fatal(err)
	}
	if seen.Get("Authorization") == "" || target.headers["/charts/index.yaml"].Get("Authorization") != "" {
		t.Errorf("first host got %q, the second %q", seen.Get("Authorization"), target.headers["/charts/index.yaml"].Get("Authorization"))
	}
}

func TestTLS(t *testing.T) {
	s := serve(t, "")
	s.StartTLS()
	s.publish(t, "web", "1.0.0")
	c := remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "web"}
	if _, err := fetcher(t, remote.Options{}).ResolveChart(t.Context(), c); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v, want an unknown certificate", err)
	}
	c.Repository.CAData = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	if _, err := fetcher(t, remote.Options{}).ResolveChart(t.Context(), c); err != nil {
		t.Error(err)
	}
	c.Repository.CAData, c.Repository.Insecure = "", true
	if _, err := fetcher(t, remote.Options{}).ResolveChart(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// endlessly answers with the same bytes until nobody listens.
func endlessly(w http.ResponseWriter, r *http.Request, chunk string) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
}

// TestHostileServers: endless, cut, wrong, evil answers end in a message.
func TestHostileServers(t *testing.T) {
	bomb := func(entry *tar.Header, content []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		w := tar.NewWriter(z)
		entry.Size = int64(len(content))
		_ = w.WriteHeader(entry)
		_, _ = w.Write(content)
		_ = w.Close()
		_ = z.Close()
		return out.Bytes()
	}
	index := "apiVersion: v1\nentries:\n  web:\n  - name: web\n    version: 1.0.0\n    urls: [web.tgz]\n"
	archives := map[string]struct {
		raw  []byte
		want string
	}{
		"parent path":    {bomb(&tar.Header{Name: "web/../../etc/passwd", Typeflag: tar.TypeReg}, []byte("x")), "leaves the tree"},
		"absolute path":  {bomb(&tar.Header{Name: "/etc/passwd", Typeflag: tar.TypeReg}, []byte("x")), "absolute"},
		"hard link":      {bomb(&tar.Header{Name: "web/x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, nil), "only files, folders and symbolic links"},
		"device":         {bomb(&tar.Header{Name: "web/x", Typeflag: tar.TypeChar}, nil), "only files, folders and symbolic links"},
		"expansion":      {bomb(&tar.Header{Name: "web/x", Typeflag: tar.TypeReg}, make([]byte, 60<<20)), "expands to more than"},
		"not an archive": {[]byte("<html>"), "archive"},
		"cut short":      {pack(t, "web", "1.0.0", nil)[:100], "cut short"},
		"empty":          {nil, "cut short"},
	}
	for name, c := range archives {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "")
			s.Start()
			s.index, s.files["/charts/web.tgz"] = index, c.raw
			_, err := fetcher(t, remote.Options{}).Chart(t.Context(), remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "web"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	for name, c := range map[string]struct {
		index, want string
	}{
		"wrong digest":  {strings.Replace(index, "urls:", "digest: "+digest([]byte("x"))+"\n    urls:", 1), "does not have the digest"},
		"no URL":        {strings.Replace(index, "[web.tgz]", "[]", 1), "names no URL"},
		"file URL":      {strings.Replace(index, "web.tgz", "file:///etc/passwd", 1), "no http URL"},
		"no such chart": {"apiVersion: v1\nentries: {}\n", "no chart of this name"},
		"not an index":  {"<html>", "not the index"},
		"flow style":    {`{"apiVersion": "v1", "entries": {"web": [{"name": "web", "version": "1.0.0", "urls": ["web.tgz"]}]}}`, ""},
		"long line":     {strings.Replace(index, "entries:", "# "+strings.Repeat("x", 200_000)+"\nentries:", 1), ""},
		"quoted":        {strings.Replace(index, "  web:", `  "web":`, 1), ""},
		"deep":          {"entries: " + strings.Repeat("[", 100_000), "not the index"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, "")
			s.Start()
			s.index, s.files["/charts/web.tgz"] = c.index, pack(t, "web", "1.0.0", nil)
			_, err := fetcher(t, remote.Options{}).Chart(t.Context(), remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "web"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	t.Run("endless index", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { endlessly(w, r, strings.Repeat("# x\n", 1000)) }))
		defer s.Close()
		_, err := fetcher(t, remote.Options{MaxIndex: 1 << 20}).ResolveChart(t.Context(), remote.Chart{Repository: repo.Repository{URL: s.URL}, Name: "web"})
		if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
			t.Errorf("error %v, want the limit", err)
		}
	})
	t.Run("silent", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		defer s.Close()
		_, err := fetcher(t, remote.Options{Timeout: 100 * time.Millisecond}).ResolveChart(t.Context(), remote.Chart{Repository: repo.Repository{URL: s.URL}, Name: "web"})
		if err == nil || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("error %v, want the time", err)
		}
	})
}

// TestFilesFromInsideTheNetwork: a URL of a source is not fetched from
// loopback, however it is written, nor by a redirect.
func TestFilesFromInsideTheNetwork(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a: 1") }))
	defer s.Close()
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for _, raw := range []string{
		s.URL + "/v.yaml?token=" + canary, "http://localhost" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port,
		"http://169.254.169.254/latest", "http://10.0.0.1/", "http://0.0.0.0" + port, "http://2130706433" + port,
	} {
		_, err := fetcher(t, remote.Options{Timeout: 2 * time.Second}).File(t.Context(), repo.Repository{}, raw)
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", raw, err)
		}
	}
	for _, raw := range []string{"file:///etc/passwd", "ftp://example.com/x", "/etc/passwd", "http:///x", "javascript:x"} {
		if _, err := fetcher(t, remote.Options{}).File(t.Context(), repo.Repository{}, raw); err == nil {
			t.Errorf("%s was fetched", raw)
		}
	}
	f := fetcher(t, remote.Options{PrivateHosts: []string{"127.0.0.1"}})
	if raw, err := f.File(t.Context(), repo.Repository{}, s.URL+"/v.yaml"); err != nil || string(raw) != "a: 1" {
		t.Errorf("%s, %v from an allowed host", raw, err)
	}
	hop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://[::1]"+port, http.StatusFound)
	}))
	defer hop.Close()
	if _, err := f.File(t.Context(), repo.Repository{}, hop.URL); err == nil || !strings.Contains(err.Error(), "private address") {
		t.Errorf("error %v after a redirect inside", err)
	}
}

func BenchmarkIndex(b *testing.B) {
	s := serve(b, "")
	s.Start()
	var index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n")
	for i := range 500 {
		fmt.Fprintf(&index, "  chart-%03d:\n", i)
		for v := range 40 {
			fmt.Fprintf(&index, "  - apiVersion: v2\n    created: \"2026-01-01T00:00:00Z\"\n    description: A chart\n    digest: %s\n    name: chart-%03d\n    urls:\n    - c.tgz\n    version: 1.%d.0\n", digest([]byte("x")), i, v)
		}
	}
	s.index = index.String()
	clk := clocktest.NewFakePassiveClock(time.Unix(0, 0))
	f := fetcher(b, remote.Options{Clock: clk})
	c := remote.Chart{Repository: repo.Repository{URL: s.URL + "/charts"}, Name: "chart-499", Versions: "^1"}
	b.ReportAllocs()
	for b.Loop() {
		clk.SetTime(clk.Now().Add(time.Hour))
		if _, err := f.ResolveChart(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
