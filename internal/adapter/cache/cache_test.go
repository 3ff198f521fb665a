package cache_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluice-cd/sluice/internal/adapter/cache"
)

var key = bytes.Repeat([]byte("k"), cache.KeyBytes)

func open(t testing.TB, o cache.Options) *cache.Cache {
	t.Helper()
	if o.Key == nil {
		o.Key = key
	}
	o.Random = rand.Reader
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := cache.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func want(t *testing.T, c *cache.Cache, name, value string) {
	t.Helper()
	got, ok := c.Get(t.Context(), name)
	if ok != (value != "") || string(got) != value {
		t.Errorf("%s: %q %v, want %q", name, got, ok, value)
	}
}

func TestDiskSurvivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	c := open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir}})
	c.Put(t.Context(), "a/b", []byte("value"))
	want(t, c, "a/b", "value")
	want(t, c, "other", "")
	want(t, open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir}}), "a/b", "value")
	want(t, open(t, cache.Options{Key: bytes.Repeat([]byte("x"), 32), Disk: cache.DiskOptions{Dir: dir}}), "a/b", "")
}

func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestHostileEntries: every single bit of an entry counts, and an entry does
// not count under another name.
func TestHostileEntries(t *testing.T) {
	var log bytes.Buffer
	dir := t.TempDir()
	c := open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	c.Put(t.Context(), "a", []byte("value of a"))
	file := files(t, dir)[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hostile := [][]byte{nil, []byte("x"), good[:len(good)-1], append(bytes.Clone(good), 0), bytes.Repeat([]byte("A"), 1000)}
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		hostile = append(hostile, flipped)
	}
	for _, entry := range hostile {
		if err := os.WriteFile(file, entry, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, c, "a", "")
		if _, err := os.Stat(file); err == nil {
			t.Fatal("a forged entry was left in place")
		}
	}
	if !strings.Contains(log.String(), "damaged or forged") {
		t.Errorf("nobody is told: %s", log.String())
	}
	c.Put(t.Context(), "b", []byte("value of b"))
	other := files(t, dir)[0]
	if err := os.WriteFile(other, good, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, c, "b", "")
}

func TestDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir, Bytes: 20_000}})
	noise := make([]byte, 3000)
	for i := range 20 {
		_, _ = rand.Read(noise)
		c.Put(t.Context(), fmt.Sprint(i), noise)
		c.Get(t.Context(), "0")
	}
	var total int64
	for _, f := range files(t, dir) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 20_000 {
		t.Errorf("%d bytes on disk", total)
	}
	if _, ok := c.Get(t.Context(), "0"); !ok {
		t.Error("the entry in use went first")
	}
	if _, ok := c.Get(t.Context(), "1"); ok {
		t.Error("the oldest entry is still there")
	}
}

func TestDiskMayVanish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c := open(t, cache.Options{Disk: cache.DiskOptions{Dir: dir}})
	c.Put(t.Context(), "a", []byte("value"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", "")
	c.Put(t.Context(), "a", []byte("value"))
	want(t, c, "a", "value")
}

func TestKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "key")
	first, err := cache.LoadKey(file, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := cache.LoadKey(file, rand.Reader)
	if err != nil || !bytes.Equal(first, second) || len(first) != cache.KeyBytes {
		t.Errorf("keys %x and %x, %v", first, second, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := cache.New(cache.Options{Key: []byte("short"), Random: rand.Reader}); err == nil {
		t.Error("a short key is accepted")
	}
}

// redisServer is the program of Debian's package redis-server.
type redisServer struct {
	address, ca string
	cmd         *exec.Cmd
	start       func()
}

const password = "r3dis-canary"

func startRedis(t testing.TB, encrypted bool) *redisServer {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	args := []string{"--requirepass", password, "--save", "", "--dir", dir, "--bind", "127.0.0.1"}
	s := &redisServer{address: "127.0.0.1:" + port}
	if encrypted {
		certificates(t, dir)
		s.ca = filepath.Join(dir, "cert.pem")
		args = append(args, "--port", "0", "--tls-port", port, "--tls-cert-file", s.ca, "--tls-key-file", filepath.Join(dir, "key.pem"), "--tls-auth-clients", "no")
	} else {
		args = append(args, "--port", port)
	}
	s.start = func() {
		s.cmd = exec.Command("redis-server", args...)
		if err := s.cmd.Start(); err != nil {
			t.Fatalf("redis-server (Debian package of this name): %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for {
			if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address); err == nil {
				_ = c.Close()
				return
			}
			select {
			case <-ctx.Done():
				t.Fatal("redis did not start")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *redisServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func certificates(t testing.TB, dir string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func options(s *redisServer) cache.RedisOptions {
	return cache.RedisOptions{Address: s.address, Password: password, TLS: s.ca != "", CA: s.ca, Now: time.Now, Pause: time.Nanosecond}
}

func TestRedis(t *testing.T) {
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := startRedis(t, encrypted)
			one := open(t, cache.Options{Redis: options(s)})
			two := open(t, cache.Options{Redis: options(s), Disk: cache.DiskOptions{Dir: t.TempDir()}})
			one.Put(t.Context(), "a", []byte("value"))
			want(t, two, "a", "value")
			s.kill()
			want(t, one, "a", "")      // gone
			want(t, two, "a", "value") // taken to the disk
			one.Put(t.Context(), "b", []byte("lost"))
			s.start()
			want(t, one, "b", "")
			one.Put(t.Context(), "b", []byte("back"))
			want(t, one, "b", "back")
		})
	}
}

func TestRedisThatIsNotOurs(t *testing.T) {
	s := startRedis(t, true)
	for name, change := range map[string]func(*cache.RedisOptions){
		"wrong password": func(o *cache.RedisOptions) { o.Password = "x" + password },
		"unknown CA":     func(o *cache.RedisOptions) { o.CA = "" },
		"no TLS":         func(o *cache.RedisOptions) { o.TLS = false },
	} {
		var log bytes.Buffer
		o := options(s)
		change(&o)
		c := open(t, cache.Options{Redis: o, Log: slog.New(slog.NewTextHandler(&log, nil))})
		c.Put(t.Context(), "a", []byte("value"))
		want(t, c, "a", "")
		if !strings.Contains(log.String(), "working without it") || strings.Contains(log.String(), password) {
			t.Errorf("%s: log %s", name, log.String())
		}
	}
}

// TestAttackerInRedis rewrites every entry (advisory T-31989): nothing of it
// comes back.
func TestAttackerInRedis(t *testing.T) {
	s := startRedis(t, false)
	var log bytes.Buffer
	c := open(t, cache.Options{Redis: options(s), Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, n := range []string{"a", "b"} {
		c.Put(t.Context(), n, []byte("value of "+n))
	}
	attacker, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address}, Password: password, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer attacker.Close()
	of := func(name string) string {
		v, err := attacker.Do(t.Context(), attacker.B().Get().Key("sluice|"+name).Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(v, "value") {
			t.Error("entries can be read in Redis")
		}
		return v
	}
	b := of("b")
	if err := attacker.Do(t.Context(), attacker.B().Set().Key("sluice|a").Value(b).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if err := attacker.Do(t.Context(), attacker.B().Set().Key("sluice|b").Value("evil").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	want(t, c, "a", "")
	want(t, c, "b", "")
	if strings.Count(log.String(), "damaged or forged") != 2 {
		t.Errorf("log %s", log.String())
	}
}

func BenchmarkDisk(b *testing.B) {
	c := open(b, cache.Options{Disk: cache.DiskOptions{Dir: b.TempDir()}})
	value := bytes.Repeat([]byte("apiVersion: v1\n"), 500)
	for b.Loop() {
		c.Put(b.Context(), "a", value)
		c.Get(b.Context(), "a")
	}
}
