package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
)

// TestPartsOfRenderingFitTogether builds what "sluice all" builds, with one
// registry of metrics, as flags say by default.
func TestPartsOfRenderingFitTogether(t *testing.T) {
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	mirrors, err := gitrepo.New(t.Context(), gitrepo.Options{Dir: t.TempDir(), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer mirrors.Close()
	var f renderFlags
	f.register(pflag.NewFlagSet("test", pflag.ContinueOnError))
	s, done, err := f.service(t.Context(), renderParts{
		data: t.TempDir(), mirrors: mirrors, store: settings.NewStore(nil, "argocd", log), log: log, registry: registry,
		permitted: func(string, string) bool { return true },
	})
	if err != nil || s == nil {
		t.Fatal(err)
	}
	done()
	for flag, change := range map[string]func(*renderFlags){
		"--render-memory": func(f *renderFlags) { f.memory = "x" }, "--render-memory-budget": func(f *renderFlags) { f.budget = "-1" }, "--render-cache-size": func(f *renderFlags) { f.disk = "" },
	} {
		bad := f
		change(&bad)
		_, _, err := bad.service(t.Context(), renderParts{
			data: t.TempDir(), mirrors: mirrors, store: settings.NewStore(nil, "argocd", log), log: log, registry: prometheus.NewRegistry(),
		})
		if err == nil || !strings.Contains(err.Error(), flag+"=") {
			t.Errorf("error %v does not name %s", err, flag)
		}
	}
}

func TestFetcherOptions(t *testing.T) {
	o, err := fetcherOptions(map[string]string{
		"reposerver.helm.user.agent": "me", "reposerver.oci.layer.media.types": "a/b, c/d", "reposerver.helm.manifest.max.extracted.size": "5M", "reposerver.oci.manifest.max.extracted.size": "7M",
	})
	if err != nil || o.UserAgent != "me" || fmt.Sprint(o.MediaTypes) != "[a/b c/d]" || o.Archive.Expanded != 7_000_000 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := fetcherOptions(map[string]string{"reposerver.oci.manifest.max.extracted.size": "much"}); err == nil || !strings.Contains(err.Error(), "reposerver.oci.manifest.max.extracted.size") {
		t.Errorf("error %v does not name the key", err)
	}
	if o, err := fetcherOptions(nil); err != nil || o.MediaTypes != nil || o.Archive.Expanded != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}
