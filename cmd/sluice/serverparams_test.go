package main

import (
	"crypto/tls"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// flagsOf are those of a server after this command line.
func flagsOf(t *testing.T, arguments ...string) *serverFlags {
	t.Helper()
	f := &serverFlags{}
	flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
	f.register(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	f.changed = flags.Changed
	return f
}

// TestServerParams: every key of argocd-cmd-params-cm fills in what no flag
// says, and a flag wins.
func TestServerParams(t *testing.T) {
	t.Setenv(histogramVariable, "true")
	params := map[string]string{
		"server.insecure": "true", "server.disable.auth": "true", "server.enable.gzip": "false", "server.sync.replace.allowed": "false", "server.basehref": "/b",
		"server.rootpath": "/r", "server.api.content.types": "a/b; c/d", "server.dex.server": "dex:1", "server.dex.server.plaintext": "true", "server.listen.address": "127.0.0.2",
		"server.tls.minversion": "1.3", "server.webhook.parallelism.limit": "7", "server.webhook.refresh.workers": "8", "server.trusted.proxies": "10.0.0.0/8",
	}
	f := flagsOf(t)
	if err := f.complete(params); err != nil {
		t.Fatal(err)
	}
	if !f.Insecure || !f.DisableAuth || f.Gzip || f.ReplaceAllowed || f.BaseHRef != "/b" || f.RootPath != "/r" || strings.Join(f.ContentTypes, " ") != "a/b c/d" || f.dexURL() != "http://dex:1" ||
		f.Address != "127.0.0.2" || f.MinTLS != tls.VersionTLS13 || f.MaxTLS != tls.VersionTLS13 || f.hookWorkers != 7 || f.hookWriters != 8 || len(f.Proxies) != 1 || !f.Histogram {
		t.Errorf("%+v", f)
	}
	f = flagsOf(t, "--insecure=false", "--rootpath=/mine", "--address=127.0.0.3", "--tlsminversion=1.2", "--tlsciphers=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "--webhook-refresh-workers=9", "--api-content-types=")
	if err := f.complete(params); err != nil {
		t.Fatal(err)
	}
	if f.Insecure || f.RootPath != "/mine" || f.Address != "127.0.0.3" || f.MinTLS != tls.VersionTLS12 || f.hookWorkers != 7 || f.hookWriters != 9 || len(f.ContentTypes) != 0 ||
		len(f.Ciphers) != 1 || f.Ciphers[0] != tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 {
		t.Errorf("%+v", f)
	}
	for key, value := range map[string]string{
		"server.tls.minversion": "2", "server.tls.maxversion": "1.1.1", "server.tls.ciphers": "TLS_RSA_WITH_RC4_128_SHA", "server.webhook.parallelism.limit": "none",
		"server.webhook.refresh.workers": "1001", "server.trusted.proxies": "0.0.0.0/0",
	} {
		if err := flagsOf(t).complete(map[string]string{key: value}); err == nil {
			t.Errorf("%s=%s is taken", key, value)
		}
	}
	if f := flagsOf(t); f.complete(nil) != nil || f.MinTLS != tls.VersionTLS12 || f.MaxTLS != tls.VersionTLS13 || f.Ciphers != nil || f.hookWorkers != 50 || f.hookWriters != 20 {
		t.Errorf("defaults are %+v", f)
	}
}

// TestWhereMetricsAreAnswered: beside the API, or where the config map says.
func TestWhereMetricsAreAnswered(t *testing.T) {
	s := &serverProcess{flags: flagsOf(t, "--address=127.0.0.1"), metricsPort: 8083}
	for value, want := range map[string]string{"": "127.0.0.1:8083", "::1": "[::1]:8083"} {
		if got := s.metrics(map[string]string{"server.metrics.listen.address": value}); got != want {
			t.Errorf("%q: %s", value, got)
		}
	}
	if s.metricsPort = 0; s.metrics(nil) != "" {
		t.Error("metrics that are switched off are answered")
	}
}

// TestServerLog: level and format come from the config map unless flags say
// them; the level follows it.
func TestServerLog(t *testing.T) {
	begun := func(arguments ...string) *serverProcess {
		all := &allFlags{logFormat: "json", logLevel: "info"}
		flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
		flags.StringVar(&all.logLevel, "loglevel", "info", "")
		flags.StringVar(&all.logFormat, "logformat", "json", "")
		if err := flags.Parse(arguments); err != nil {
			t.Fatal(err)
		}
		log, err := all.logger()
		if err != nil {
			t.Fatal(err)
		}
		return &serverProcess{all: all, log: log, flags: &serverFlags{changed: flags.Changed}}
	}
	for value, want := range map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "warning": slog.LevelWarn, "trace": slog.LevelDebug, "fatal": slog.LevelError} {
		s := begun()
		if err := s.logs(map[string]string{logLevelKey: value, logFormatKey: "text"}); err != nil || s.all.level.Level() != want {
			t.Errorf("%q: %v, level %s", value, err, s.all.level.Level())
		}
		if _, text := s.log.Handler().(*slog.TextHandler); !text {
			t.Errorf("the log is a %T", s.log.Handler())
		}
	}
	s := begun("--loglevel=warn", "--logformat=json")
	if err := s.logs(map[string]string{logLevelKey: "debug", logFormatKey: "text"}); err != nil || s.all.level.Level() != slog.LevelWarn {
		t.Errorf("a flag does not win: %v, %s", err, s.all.level.Level())
	}
	if _, lines := s.log.Handler().(*slog.JSONHandler); !lines {
		t.Errorf("the log is a %T", s.log.Handler())
	}
	for key, value := range map[string]string{logLevelKey: "loud", logFormatKey: "xml"} {
		if err := begun().logs(map[string]string{key: value}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

// TestBuild: clients read a version that they know, whatever ours is.
func TestBuild(t *testing.T) {
	for _, version := range []string{"dev", "v1.2.3-4-gabc-dirty", "a b/c"} {
		b := buildOf(version)
		if !regexp.MustCompile(`^v3\.\d+\.\d+\+[0-9A-Za-z.-]+$`).MatchString(b.Version) || b.ExtraBuildInfo != "sluice "+version {
			t.Errorf("%+v", b)
		}
	}
}
