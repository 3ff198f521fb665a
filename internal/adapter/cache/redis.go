package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// RedisOptions configure the tier in Redis.
type RedisOptions struct {
	// Address is host:port; empty switches the tier off.
	Address string
	// Sentinels, instead, are host:port of sentinels that name the server of
	// MasterSet (default "master"), which may change.
	Sentinels                          []string
	MasterSet                          string
	SentinelUsername, SentinelPassword string
	Username, Password                 string
	Database                           int
	// TLS encrypts; CA is a PEM bundle (default the system's), Certificate
	// and Key are the client's.
	TLS                  bool
	CA, Certificate, Key string
	// Insecure accepts any certificate.
	Insecure bool
	// Expiration is how long an entry is kept (default 24 h).
	Expiration time.Duration
	// Timeout bounds one access (default 1 s).
	Timeout time.Duration
	// Pause is how long Redis is left alone after a failure (default 5 s).
	Pause time.Duration
	// Now tells the time; default is that of the Cache.
	Now func() time.Time
}

type redis struct {
	options RedisOptions
	dial    rueidis.ClientOption

	mu     sync.Mutex
	client rueidis.Client
	after  time.Time // no attempt before
}

var _ tier = (*redis)(nil)

// errPaused says that Redis has just failed and is left alone.
var errPaused = errors.New("redis is left alone for a moment after a failure")

// newRedis checks the options; it connects when it is first used.
func newRedis(o RedisOptions) (*redis, error) {
	for value, standard := range map[*time.Duration]time.Duration{&o.Expiration: 24 * time.Hour, &o.Timeout: time.Second, &o.Pause: 5 * time.Second} {
		if *value == 0 {
			*value = standard
		}
	}
	if o.Now == nil {
		return nil, errors.New("redis: no clock")
	}
	r := &redis{options: o, dial: rueidis.ClientOption{
		InitAddress: []string{o.Address}, Username: o.Username, Password: o.Password, SelectDB: o.Database,
		Dialer: net.Dialer{Timeout: o.Timeout}, ConnWriteTimeout: o.Timeout, DisableCache: true, ForceSingleClient: true, DisableRetry: true,
		BlockingPoolSize: 8, PipelineMultiplex: 1, RingScaleEachConn: 8,
	}}
	if len(o.Sentinels) > 0 {
		r.sentinels()
	}
	if !o.TLS {
		return r, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure} //nolint:gosec // only when asked for
	if host, _, err := net.SplitHostPort(o.Address); err == nil {
		config.ServerName = host
	}
	if o.CA != "" {
		raw, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("--redis-ca-certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("--redis-ca-certificate: %s holds no PEM certificate", o.CA)
		}
	}
	if o.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("--redis-client-certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	r.dial.TLSConfig = config
	r.dial.Sentinel.TLSConfig = config
	return r, nil
}

// sentinels lets sentinels name the server.
func (r *redis) sentinels() {
	o := &r.options
	if o.MasterSet == "" {
		o.MasterSet = "master"
	}
	o.Address = "of sentinels " + strings.Join(o.Sentinels, ", ")
	r.dial.InitAddress, r.dial.ForceSingleClient = o.Sentinels, false
	r.dial.Sentinel = rueidis.SentinelOption{
		MasterSet: o.MasterSet, Username: o.SentinelUsername, Password: o.SentinelPassword, Dialer: r.dial.Dialer,
	}
}

func (*redis) name() string { return "redis" }

// prefix keeps our keys apart from those of others.
const prefix = "sluice|"

// with runs a command with a connection; a failure makes the next ones wait.
func (r *redis) with(ctx context.Context, run func(context.Context, rueidis.Client) error) error {
	client, err := r.connect()
	if err == nil {
		bounded, cancel := context.WithTimeout(ctx, r.options.Timeout)
		defer cancel()
		err = run(bounded, client)
	}
	if err == nil || rueidis.IsRedisNil(err) || errors.Is(err, errPaused) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = r.options.Now().Add(r.options.Pause)
	if r.client == client && client != nil {
		r.client = nil
		go client.Close() // it waits for what is under way
	}
	return fmt.Errorf("redis %s: %w", r.options.Address, err)
}

func (r *redis) connect() (rueidis.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.options.Now().Before(r.after) {
		return nil, errPaused
	}
	if r.client == nil {
		client, err := rueidis.NewClient(r.dial)
		if err != nil {
			return nil, err
		}
		r.client = client
	}
	return r.client, nil
}

func (r *redis) get(ctx context.Context, name string) (entry []byte, err error) {
	err = r.with(ctx, func(ctx context.Context, c rueidis.Client) error {
		entry, err = c.Do(ctx, c.B().Get().Key(prefix+name).Build()).AsBytes()
		return err
	})
	if rueidis.IsRedisNil(err) || errors.Is(err, errPaused) {
		return nil, nil
	}
	return entry, err
}

func (r *redis) put(ctx context.Context, name string, entry []byte) error {
	err := r.with(ctx, func(ctx context.Context, c rueidis.Client) error {
		return c.Do(ctx, c.B().Set().Key(prefix+name).Value(rueidis.BinaryString(entry)).Ex(r.options.Expiration).Build()).Error()
	})
	if errors.Is(err, errPaused) {
		return nil
	}
	return err
}

func (r *redis) remove(ctx context.Context, name string) {
	_ = r.with(ctx, func(ctx context.Context, c rueidis.Client) error { // found forged again if it stays
		return c.Do(ctx, c.B().Del().Key(prefix+name).Build()).Error()
	})
}

func (r *redis) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}
