package remote

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Options of a Fetcher.
type Options struct {
	// Dir holds indexes and archives; it is private to this process.
	Dir string
	// Age is how long an answer that may change counts (default 3 min).
	Age time.Duration
	// Timeout bounds one transfer (default 60 s).
	Timeout time.Duration
	// MaxIndex bounds the bytes of an index (default 256 MiB), MaxFile those
	// of a file by URL (default 10 MiB).
	MaxIndex, MaxFile int64
	// Tuning is read before each use; nil is the zero one.
	Tuning func() Tuning
	// CacheBytes bounds the charts held in memory (default 64 MiB),
	// DiskBytes those on disk (default 1 GiB).
	CacheBytes, DiskBytes int64
	// PrivateHosts are addresses inside the own network that files by URL
	// may be read from.
	PrivateHosts []string
	// Environment says which proxy stands before hosts whose repository
	// declares none ("KEY=value"; default that of this process).
	Environment []string
	Clock       clock.PassiveClock
	Log         *slog.Logger
	Registerer  prometheus.Registerer
}

// Tuning are settings that may change while the process runs.
type Tuning struct {
	UserAgent string
	// MediaTypes are the layers of an OCI artifact that are unpacked.
	MediaTypes []string
	// Charts and Artifacts bound what is unpacked.
	Charts, Artifacts tree.Limits
}

// tuning is what holds now.
func (f *Fetcher) tuning() Tuning {
	var t Tuning
	if f.options.Tuning != nil {
		t = f.options.Tuning()
	}
	if len(t.MediaTypes) == 0 {
		t.MediaTypes = []string{
			"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip", chartLayer,
		}
	}
	if t.UserAgent == "" {
		t.UserAgent = "sluice"
	}
	return t
}

func (o *Options) defaults() {
	for value, standard := range map[*time.Duration]time.Duration{&o.Age: 3 * time.Minute, &o.Timeout: time.Minute} {
		if *value == 0 {
			*value = standard
		}
	}
	for value, standard := range map[*int64]int64{&o.MaxIndex: 256 << 20, &o.MaxFile: 10 << 20, &o.CacheBytes: 64 << 20, &o.DiskBytes: 1 << 30} {
		if *value == 0 {
			*value = standard
		}
	}
	if o.Environment == nil {
		o.Environment = os.Environ()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
}

// Fetcher fetches and remembers. It is safe for concurrent use.
type Fetcher struct {
	options  Options
	flight   singleflight.Group
	requests *prometheus.CounterVec
	memory   *memory
}

// New opens the folder of a Fetcher.
func New(o Options) (*Fetcher, error) {
	o.defaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of charts: %w", err)
	}
	f := &Fetcher{options: o, memory: newMemory(o.CacheBytes), requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "argocd_repo_remote_requests_total", Help: "Requests to Helm repositories, OCI registries and URLs, by what and result.",
	}, []string{"what", "result"})}
	o.Registerer.MustRegister(f.requests)
	return f, nil
}

func (f *Fetcher) count(what string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	f.requests.WithLabelValues(what, result).Inc()
}

// identity names a repository with its credentials: what one credential
// fetched no other reads.
func identity(r repo.Repository, more ...string) string {
	sum := sha256.New()
	for _, part := range append([]string{
		r.URL, r.Username, r.Password.Reveal(), r.BearerToken.Reveal(), r.TLSClientCertData, r.TLSClientCertKey.Reveal(), r.Proxy.Reveal(), r.NoProxy, r.CAData,
		fmt.Sprint(r.Insecure, r.EnableOCI, r.InsecureOCIForceHTTP),
	}, more...) {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// IsOCI says that charts of a repository are in an OCI registry.
func IsOCI(r repo.Repository) bool {
	u, err := url.Parse(r.URL)
	return r.EnableOCI || strings.HasPrefix(r.URL, "oci://") || err != nil || u.Host == ""
}

// memory is what was fetched, newest first, bounded by bytes. An answer that
// may change counts until its end.
type memory struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	items map[string]*list.Element
	order *list.List
}

type item struct {
	key string
	// of is the repository that can be asked again, see Refresh.
	of    string
	value any
	until time.Time // zero is for ever
	size  int64
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, items: map[string]*list.Element{}, order: list.New()}
}

func (m *memory) get(key string, now time.Time) (any, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.items[key]
	if !ok {
		return nil, false
	}
	i := at.Value.(item)
	if !i.until.IsZero() && now.After(i.until) {
		m.remove(at)
		return nil, false
	}
	m.order.MoveToFront(at)
	return i.value, true
}

func (m *memory) put(i item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.items[i.key]; ok {
		m.remove(old)
	}
	m.items[i.key] = m.order.PushFront(i)
	for m.bytes += i.size; m.bytes > m.limit && m.order.Len() > 1; {
		m.remove(m.order.Back())
	}
}

func (m *memory) remove(at *list.Element) {
	i := at.Value.(item)
	m.order.Remove(at)
	delete(m.items, i.key)
	m.bytes -= i.size
}

// once fetches what is not remembered; callers at the same time share it.
func once[T any](f *Fetcher, r repo.Repository, what []string, fetch func() (T, item, error)) (T, error) {
	var none T
	key := identity(r, what...)
	if known, ok := f.memory.get(key, f.options.Clock.Now()); ok {
		if failed, is := known.(failure); is {
			return none, failed.err
		}
		return known.(T), nil
	}
	v, err, _ := f.flight.Do(key, func() (any, error) {
		value, remember, err := fetch()
		remember.key, remember.of, remember.value = key, identity(r), value
		if err != nil {
			remember.value, remember.until, remember.size = failure{err}, f.options.Clock.Now().Add(failureAge), 200
		}
		if !errors.Is(err, context.Canceled) {
			f.memory.put(remember)
		}
		return value, err
	})
	if err != nil {
		return none, err
	}
	return v.(T), nil
}

// Refresh drops what may have changed in a repository, so that it is asked
// anew.
func (f *Fetcher) Refresh(r repo.Repository) {
	of := identity(r)
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	for _, at := range f.memory.items {
		if i := at.Value.(item); i.of == of && !i.until.IsZero() {
			f.memory.remove(at)
		}
	}
}

// failureAge is how long a failure counts, so that a broken repository is not
// asked by every Application.
const failureAge = 10 * time.Second

type failure struct{ err error }

func (f *Fetcher) until() time.Time { return f.options.Clock.Now().Add(f.options.Age) }

// File is the content behind an http or https URL; r is what is declared
// about its host, if anything.
func (f *Fetcher) File(ctx context.Context, r repo.Repository, raw string) ([]byte, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("is not an http or https URL")
	}
	declared := r.Password.Reveal() != "" || r.BearerToken.Reveal() != "" || r.CAData != ""
	if !declared {
		if err := f.vetHost(u.Hostname()); err != nil {
			return nil, err
		}
	}
	return once(f, r, []string{"file", raw}, func() ([]byte, item, error) {
		c, err := f.client(r, !declared)
		if err != nil {
			return nil, item{}, err
		}
		defer c.CloseIdleConnections()
		home, err := url.Parse(r.URL)
		if err != nil {
			home = u
		}
		var out bytes.Buffer
		_, err = f.get(ctx, c, request{url: raw, limit: f.options.MaxFile, authorize: authorize(r, origin(home), false)}, &out)
		f.count("file", err)
		if err != nil {
			return nil, item{}, err
		}
		return out.Bytes(), item{until: f.until(), size: int64(out.Len())}, nil
	})
}

// keep writes a file of the folder in one step.
func (f *Fetcher) keep(name string, content []byte) error {
	temporary, err := os.CreateTemp(f.options.Dir, ".new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), filepath.Join(f.options.Dir, name))
}
