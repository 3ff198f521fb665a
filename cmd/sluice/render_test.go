package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
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

func TestTuning(t *testing.T) {
	o, err := tuning(map[string]string{
		"reposerver.helm.user.agent": "me", "reposerver.oci.layer.media.types": "a/b, c/d", "reposerver.helm.manifest.max.extracted.size": "5M", "reposerver.oci.manifest.max.extracted.size": "7M",
	})
	if err != nil || o.UserAgent != "me" || fmt.Sprint(o.MediaTypes) != "[a/b c/d]" || o.Charts.Expanded != 5_000_000 || o.Artifacts.Expanded != 7_000_000 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := tuning(nil); err != nil || o.MediaTypes != nil || o.Charts.Expanded != 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := tuning(map[string]string{"reposerver.disable.helm.manifest.max.extracted.size": "true", "reposerver.helm.manifest.max.extracted.size": "1"}); err != nil || o.Charts.Expanded != math.MaxInt64 || o.Artifacts.Expanded != 0 {
		t.Errorf("switched off: %+v, %v", o, err)
	}
}

// TestTuningChangesWhileTheProcessRuns: what cannot be used is reported once,
// and what held before holds on.
func TestTuningChangesWhileTheProcessRuns(t *testing.T) {
	var said bytes.Buffer
	params := map[string]string{"reposerver.oci.manifest.max.extracted.size": "much"}
	read := func() map[string]string { return params }
	log := slog.New(slog.NewTextHandler(&said, nil))
	if _, err := live(read, log); err == nil || !strings.Contains(err.Error(), "reposerver.oci.manifest.max.extracted.size") {
		t.Errorf("at start: error %v does not name the key", err)
	}
	params = map[string]string{"reposerver.helm.user.agent": "one"}
	now, err := live(read, log)
	if err != nil || now().UserAgent != "one" {
		t.Fatal(now().UserAgent, err)
	}
	params = map[string]string{"reposerver.helm.user.agent": "two"}
	if got := now().UserAgent; got != "two" {
		t.Errorf("after a change: %s", got)
	}
	params = map[string]string{"reposerver.helm.user.agent": "three", "reposerver.helm.manifest.max.extracted.size": "-1"}
	if got := now().UserAgent + now().UserAgent; got != "twotwo" || strings.Count(said.String(), "reposerver.helm.manifest.max.extracted.size") != 1 {
		t.Errorf("after a bad change: %s, %s", got, said.String())
	}
}

func TestIsFalse(t *testing.T) {
	for text, want := range map[string]bool{"false": true, "0": true, "F": true, "": false, "true": false, "no": false} {
		if got := isFalse(text); got != want {
			t.Errorf("%q is false: %t", text, got)
		}
	}
}
