package cache_test

import (
	"context"
	"fmt"
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

// sentinel watches a server and its replica, with a quorum of one.
func sentinel(t *testing.T, master *redisServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	_, masterPort, _ := net.SplitHostPort(master.address)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\nrequirepass s3ntinel\nsentinel monitor fleet 127.0.0.1 %s 1\nsentinel auth-pass fleet %s\nsentinel down-after-milliseconds fleet 300\nsentinel failover-timeout fleet 2000\n", port, masterPort, password)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "127.0.0.1:" + port
}

// ask runs a command on a server that is not a cluster, until ok.
func ask(t *testing.T, address, secret string, ok func(string) bool, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for said := ""; ; {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, Password: secret, ForceSingleClient: true, DisableCache: true})
		if err == nil {
			said = fmt.Sprint(c.Do(ctx, c.B().Arbitrary(command...).Build()).ToAny())
			c.Close()
			if ok(said) {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s %v: %s, %v", address, command, said, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestSentinel: the cache finds the server through sentinels, and the next one
// when that has died.
func TestSentinel(t *testing.T) {
	first, second := startRedis(t, false), startRedis(t, false)
	_, port, _ := net.SplitHostPort(first.address)
	said := func(part string) func(string) bool {
		return func(text string) bool { return strings.Contains(text, part) }
	}
	ask(t, second.address, password, said("OK"), "CONFIG", "SET", "masterauth", password)
	ask(t, first.address, password, said("OK"), "CONFIG", "SET", "masterauth", password)
	ask(t, second.address, password, said("OK"), "REPLICAOF", "127.0.0.1", port)
	ask(t, second.address, password, said("master_link_status:up"), "INFO", "replication")
	watcher := sentinel(t, first)
	ask(t, watcher, "s3ntinel", said("slave"), "SENTINEL", "replicas", "fleet")
	o := cache.RedisOptions{Sentinels: []string{watcher}, MasterSet: "fleet", SentinelPassword: "s3ntinel", Password: password, Now: time.Now, Pause: time.Nanosecond, Timeout: 5 * time.Second}
	c := open(t, cache.Options{Redis: o})
	c.Put(t.Context(), "a", []byte("value"))
	want(t, c, "a", "value")
	ask(t, first.address, password, func(text string) bool { return strings.HasPrefix(text, "1") }, "WAIT", "1", "5000")
	first.kill()
	deadline := time.After(time.Minute)
	for {
		c.Put(t.Context(), "b", []byte("after"))
		if got, ok := c.Get(t.Context(), "b"); ok && string(got) == "after" {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the cache does not find the server that took over")
		case <-time.After(50 * time.Millisecond):
		}
	}
	want(t, c, "a", "value")
}
