package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/cache"
	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/plugin"
	"github.com/sluice-cd/sluice/internal/adapter/remote"
	"github.com/sluice-cd/sluice/internal/adapter/render/worker"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// renderFlags configure rendering, in every component that renders.
type renderFlags struct {
	workers              int
	memory, budget, disk string
	timeout, poll        time.Duration
	privateHosts         []string
	cacheKey             string
	redis                redisFlags
}

// redisFlags are those of Argo CD (spec/config.md §7).
type redisFlags struct {
	address, ca, certificate, key string
	sentinels                     []string
	masterSet                     string
	database                      int
	tls, insecure                 bool
	expiration                    time.Duration
}

func (f *renderFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.workers, "render-workers", 0, "largest number of render processes; 0 is one per core")
	flags.StringVar(&f.memory, "render-memory", "512Mi", "memory that one render may use")
	flags.StringVar(&f.budget, "render-memory-budget", "2Gi", "memory that all renders together may use")
	flags.DurationVar(&f.timeout, "render-timeout", time.Minute, "time that one render may take")
	flags.DurationVar(&f.poll, "registry-poll-interval", 3*time.Minute, "pause between two questions to a Helm repository or OCI registry")
	flags.StringSliceVar(&f.privateHosts, "allow-private-hosts", nil, "addresses inside the own network that value files, chart dependencies and remote bases may be read from by URL without a repository Secret")
	flags.StringVar(&f.disk, "render-cache-size", "1Gi", "bytes of rendered manifests kept on disk")
	flags.StringVar(&f.cacheKey, "cache-key-file", "", "file with the key that seals cached manifests; replicas that share a Redis share it; default: cache.key in the data folder")
	flags.StringVar(&f.redis.address, "redis", "", "host:port of a Redis that replicas share; optional")
	flags.StringSliceVar(&f.redis.sentinels, "sentinel", nil, "host:port of Redis sentinels, which name the server to use instead of --redis")
	flags.StringVar(&f.redis.masterSet, "sentinelmaster", "master", "name by which the sentinels know the server")
	flags.IntVar(&f.redis.database, "redisdb", 0, "number of the Redis database")
	flags.BoolVar(&f.redis.tls, "redis-use-tls", false, "encrypt the connection to Redis")
	flags.BoolVar(&f.redis.insecure, "redis-insecure-skip-tls-verify", false, "accept any certificate of Redis")
	flags.StringVar(&f.redis.ca, "redis-ca-certificate", "", "PEM file of the authority that signed Redis' certificate")
	flags.StringVar(&f.redis.certificate, "redis-client-certificate", "", "PEM file of the certificate shown to Redis")
	flags.StringVar(&f.redis.key, "redis-client-key", "", "PEM file of its key")
	flags.DurationVar(&f.redis.expiration, "default-cache-expiration", 24*time.Hour, "how long Redis keeps a result")
}

// renderParts are what rendering is built from.
type renderParts struct {
	data      string
	mirrors   *gitrepo.Mirrors
	store     *settings.Store
	permitted func(project, url string) bool
	log       *slog.Logger
	registry  prometheus.Registerer
}

// service builds the renderer; the function returned closes it.
func (f *renderFlags) service(ctx context.Context, p renderParts) (*manifest.Service, func(), error) {
	memory, err := bytesOf("--render-memory", f.memory)
	if err != nil {
		return nil, nil, err
	}
	budget, err := bytesOf("--render-memory-budget", f.budget)
	if err != nil {
		return nil, nil, err
	}
	pool, err := worker.NewPool(worker.Options{
		Workers: f.workers, Memory: memory, Budget: budget, Timeout: f.timeout, Log: p.log.With("component", "render"), Registerer: p.registry,
	})
	if err != nil {
		return nil, nil, err
	}
	store, err := f.cache(p)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	lender := plugin.NewLender(os.Getenv(plugin.AskPassSocket), rand.Reader)
	done := func() {
		pool.Close()
		store.Close()
		lender.Close()
	}
	params := paramsOf(p.store)
	charts := p.log.With("component", "charts")
	tuned, err := live(params, charts)
	if err != nil {
		done()
		return nil, nil, err
	}
	fetcher, err := remote.New(remote.Options{
		Dir: filepath.Join(p.data, "charts"), PrivateHosts: f.privateHosts, Tuning: tuned, Log: charts, Registerer: p.registry,
	})
	if err != nil {
		done()
		return nil, nil, err
	}
	unsigned := isFalse(os.Getenv("ARGOCD_GPG_ENABLED"))
	if unsigned {
		p.log.Warn("ARGOCD_GPG_ENABLED is false: signatures that projects demand are not verified", "security", 3)
	}
	s := manifest.New(ctx, manifest.Options{
		Unsigned: unsigned,
		Mirrors:  p.mirrors, Pool: pool, Fetcher: fetcher, Store: store, Plugins: f.plugins(params, lender), Clock: clock.RealClock{}, PollInterval: f.poll,
		Repository: p.store.Repository,
		ByName:     p.store.RepositoryByName,
		Permitted:  p.permitted,
		Inside:     insideGate(p.store.Snapshot, f.privateHosts),
		Config:     func() map[string]string { return p.store.Snapshot().Config },
		Params:     params,
		Log:        p.log.With("component", "manifests"), Registerer: p.registry,
	})
	p.store.OnChange(func(*settings.Snapshot) { s.SettingsChanged() })
	return s, done, nil
}

// paramsOf gives argocd-cmd-params-cm as it is now.
func paramsOf(s *settings.Store) func() map[string]string {
	return func() map[string]string { return s.Snapshot().Params }
}

// tuning reads argocd-cmd-params-cm (spec/config.md §5).
func tuning(params map[string]string) (remote.Tuning, error) {
	t := remote.Tuning{UserAgent: "sluice/" + version}
	if agent := params["reposerver.helm.user.agent"]; agent != "" {
		t.UserAgent = agent
	}
	t.MediaTypes = listOf(params["reposerver.oci.layer.media.types"], ",")
	for kind, limits := range map[string]*tree.Limits{"helm": &t.Charts, "oci": &t.Artifacts} {
		if params["reposerver.disable."+kind+".manifest.max.extracted.size"] == "true" {
			limits.Expanded = math.MaxInt64
			continue
		}
		key := "reposerver." + kind + ".manifest.max.extracted.size"
		if params[key] == "" {
			continue
		}
		var err error
		if limits.Expanded, err = bytesOf("ConfigMap/argocd-cmd-params-cm: key "+key, params[key]); err != nil {
			return t, err
		}
	}
	return t, nil
}

// live gives the settings of now; those that cannot be used are reported, and
// the ones before them stay.
func live(params func() map[string]string, log *slog.Logger) (func() remote.Tuning, error) {
	last, err := tuning(params())
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var told string
	return func() remote.Tuning {
		mu.Lock()
		defer mu.Unlock()
		now, err := tuning(params())
		if err == nil {
			last, told = now, ""
		} else if told != err.Error() {
			told = err.Error()
			log.Warn("setting not usable: the one before stays", "error", told)
		}
		return last
	}, nil
}

// listOf takes a text apart and drops what is empty.
func listOf(text, separator string) (out []string) {
	for _, one := range strings.Split(text, separator) {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}

func (f *renderFlags) cache(p renderParts) (*cache.Cache, error) {
	file := f.cacheKey
	if file == "" {
		file = filepath.Join(p.data, "cache.key")
	}
	key, err := cache.LoadKey(file, rand.Reader)
	if err != nil {
		return nil, err
	}
	size, err := bytesOf("--render-cache-size", f.disk)
	if err != nil {
		return nil, err
	}
	return cache.New(cache.Options{
		Key: key, Random: rand.Reader, Disk: cache.DiskOptions{Dir: filepath.Join(p.data, "manifests"), Bytes: size},
		Redis: cache.RedisOptions{
			Address: f.redis.address, Sentinels: f.redis.sentinels, MasterSet: f.redis.masterSet,
			SentinelUsername: os.Getenv("REDIS_SENTINEL_USERNAME"), SentinelPassword: os.Getenv("REDIS_SENTINEL_PASSWORD"),
			Username: os.Getenv("REDIS_USERNAME"), Password: os.Getenv("REDIS_PASSWORD"), Database: f.redis.database,
			TLS: f.redis.tls, Insecure: f.redis.insecure, CA: f.redis.ca, Certificate: f.redis.certificate, Key: f.redis.key,
			Expiration: f.redis.expiration,
		},
		Now: time.Now,
		Log: p.log.With("component", "cache"), Registerer: p.registry,
	})
}

func (f *renderFlags) plugins(params func() map[string]string, lender *plugin.Lender) *plugin.Client {
	return plugin.NewClient(plugin.Options{
		Dir: pluginDir(), Lender: lender, Exclude: func() []string { return listOf(params()["reposerver.plugin.tar.exclusions"], ";") },
	})
}

// isFalse says that a text says no.
func isFalse(text string) bool {
	value, err := strconv.ParseBool(text)
	return err == nil && !value
}

func bytesOf(flag, text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Value() <= 0 {
		return 0, fmt.Errorf("%s=%s: want a size like 512Mi", flag, text)
	}
	return q.Value(), nil
}

// permitted asks the project whether it may read from a URL.
func permitted(ctx context.Context, projects projectGetter) func(project, url string) bool {
	return func(project, url string) bool {
		p, err := projects(ctx, project)
		return err == nil && p != nil && policy.Source(p, url)
	}
}
