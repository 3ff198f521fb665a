package cache

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tier is one place that holds sealed entries.
type tier interface {
	name() string
	// get returns nil for what is absent.
	get(ctx context.Context, name string) ([]byte, error)
	put(ctx context.Context, name string, entry []byte) error
	remove(ctx context.Context, name string)
	close()
}

// Options of a Cache. A tier that is not configured is not used.
type Options struct {
	// Key seals the entries; replicas that share a Redis share it.
	Key    []byte
	Random io.Reader
	Disk   DiskOptions
	Redis  RedisOptions
	// Now tells the time.
	Now func() time.Time

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Cache looks into its tiers in order: disk, then Redis. It never fails: what
// goes wrong is counted, logged, and the entry counts as absent. It is safe
// for concurrent use.
type Cache struct {
	tiers  []tier
	disk   *disk // one of the tiers, or nil
	now    func() time.Time
	sealer *sealer
	log    *slog.Logger
	reads  *prometheus.CounterVec
	forged *prometheus.CounterVec
	errors *prometheus.CounterVec
}

// New opens the tiers that are configured.
func New(o Options) (*Cache, error) {
	s, err := newSealer(o.Key, o.Random)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		return nil, errors.New("cache: no clock")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	c := &Cache{
		sealer: s, log: o.Log, now: o.Now,
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_repo_cache_reads_total", Help: "Reads from the manifest cache, by tier and result: hit or miss.",
		}, []string{"tier", "result"}),
		forged: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_repo_cache_forged_total", Help: "Entries of the manifest cache that were damaged or forged, by tier.",
		}, []string{"tier"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argocd_repo_cache_errors_total", Help: "Failed accesses to the manifest cache, by tier.",
		}, []string{"tier"}),
	}
	o.Registerer.MustRegister(c.reads, c.forged, c.errors)
	if o.Disk.Dir != "" {
		if c.disk, err = newDisk(o.Disk, s, o.Now()); err != nil {
			return nil, err
		}
		o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "argocd_repo_cache_held_bytes", Help: "Bytes on disk of manifests that were deployed and are kept for a rollback.",
		}, c.disk.heldBytes))
		c.tiers = append(c.tiers, c.disk)
	}
	if o.Redis.Address != "" || len(o.Redis.Sentinels) > 0 {
		if o.Redis.Now == nil {
			o.Redis.Now = o.Now
		}
		r, err := newRedis(o.Redis)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.tiers = append(c.tiers, r)
	}
	return c, nil
}

// Close ends connections.
func (c *Cache) Close() {
	for _, t := range c.tiers {
		t.close()
	}
}

// Get returns what was put under a name, if it is still there. What is found
// in a later tier is put into the earlier ones.
func (c *Cache) Get(ctx context.Context, name string) ([]byte, bool) {
	for i, t := range c.tiers {
		entry, err := t.get(ctx, name)
		if err != nil {
			c.failed(t, err)
			continue
		}
		if entry == nil {
			c.reads.WithLabelValues(t.name(), "miss").Inc()
			continue
		}
		value, err := c.sealer.open(name, entry)
		if err != nil {
			c.forged.WithLabelValues(t.name()).Inc()
			c.log.Error("cache entry is damaged or forged: it is not used", "tier", t.name(), "entry", name, "security", 3)
			t.remove(ctx, name)
			continue
		}
		c.reads.WithLabelValues(t.name(), "hit").Inc()
		for _, earlier := range c.tiers[:i] {
			if err := earlier.put(ctx, name, entry); err != nil {
				c.failed(earlier, err)
			}
		}
		return value, true
	}
	return nil, false
}

// Put stores a value in all tiers.
func (c *Cache) Put(ctx context.Context, name string, value []byte) {
	if len(c.tiers) == 0 {
		return
	}
	entry, err := c.sealer.seal(name, value)
	if err != nil {
		c.log.Warn("cache entry not stored", "error", err.Error())
		return
	}
	for _, t := range c.tiers {
		if err := t.put(ctx, name, entry); err != nil {
			c.failed(t, err)
		}
	}
}

func (c *Cache) failed(t tier, err error) {
	c.errors.WithLabelValues(t.name()).Inc()
	if !errors.Is(err, context.Canceled) {
		c.log.Warn("cache not reachable: working without it", "tier", t.name(), "error", err.Error())
	}
}
