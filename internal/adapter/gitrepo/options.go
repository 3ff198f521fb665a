package gitrepo

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Pace is how often a repository is asked: every Every, plus a random part of
// Jitter. Every zero asks only on a webhook, a refresh, or when a failed
// repository is tried again.
type Pace struct{ Every, Jitter time.Duration }

// Options of a set of mirrors.
type Options struct {
	// Dir holds the mirrors; it is private to this process.
	Dir string
	// SecretsDir holds keys and passwords while they are in use, best in
	// memory; default is the system's folder for temporary files.
	SecretsDir string
	// PollInterval is the pause between two questions to one repository, with
	// a fifth of it as jitter. Zero switches polling off. Pace, when set, is
	// read before each question and wins.
	PollInterval time.Duration
	Pace         func() Pace
	// RequestTimeout bounds one ls-remote (default 15 s), FetchTimeout one
	// fetch (default 30 min), StallTimeout the silence within a fetch
	// (default 60 s).
	RequestTimeout, FetchTimeout, StallTimeout time.Duration
	// Grace is how long the last answer of a repository that has stopped
	// answering still counts (default 3 min).
	Grace time.Duration
	// MaxFileBytes bounds one file that is read (default 50 MiB), CacheBytes
	// the folders remembered (default 64 MiB), MaxRefsBytes the list of refs
	// (default 128 MiB, about a million), MaxPackBytes what one fetch may
	// bring (default 8 GiB) and MaxObjects its objects (default 20 million),
	// MaxGitMemory each process of git (default 2 GiB),
	// DiskBudget all mirrors together (default none).
	MaxFileBytes, MaxRefsBytes, MaxPackBytes, MaxObjects, MaxGitMemory, DiskBudget int64
	CacheBytes                                                                     int
	// HostRequests is how many questions and how many fetches run against one
	// host at the same time (default 32), so that a dead host holds up nobody
	// else.
	HostRequests int
	// AllowFile permits file:// URLs: whoever may name a repository can then
	// read every Git repository that this process can read.
	AllowFile bool
	// Submodule says how the repository of a submodule is reached on behalf of
	// parent.Asker, or why it must not be. Nil reads no submodules.
	Submodule func(parent repo.Repository, url string) (repo.Repository, error)
	// Environment is added to that of git, which otherwise inherits only
	// PATH: HTTPS_PROXY and the like.
	Environment []string
	// Tunnel is the command that runs Tunnel, for ssh through a proxy; without
	// it, such repositories are refused.
	Tunnel []string
	// Random makes keys (default crypto/rand).
	Random     io.Reader
	Clock      clock.WithTicker
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (o *Options) defaults() {
	standard(&o.RequestTimeout, 15*time.Second)
	standard(&o.FetchTimeout, 30*time.Minute)
	standard(&o.StallTimeout, time.Minute)
	standard(&o.Grace, 3*time.Minute)
	standard(&o.MaxFileBytes, 50<<20)
	standard(&o.MaxRefsBytes, 128<<20)
	standard(&o.MaxPackBytes, 8<<30)
	standard(&o.MaxObjects, 20_000_000)
	standard(&o.MaxGitMemory, 2<<30)
	standard(&o.CacheBytes, 64<<20)
	standard(&o.HostRequests, 32)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Pace == nil {
		fixed := Pace{o.PollInterval, o.PollInterval / 5}
		o.Pace = func() Pace { return fixed }
	}
}

func standard[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
