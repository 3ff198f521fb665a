package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/gitrepo"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
)

// mirrorOptions wires the mirrors of Git repositories to flags and settings.
func (f *allFlags) mirrorOptions(store *settings.Store, clk clock.WithTicker, registry prometheus.Registerer, logger *slog.Logger) gitrepo.Options {
	return gitrepo.Options{
		Dir: filepath.Join(f.data, "mirrors"), AllowFile: f.allowFile, DiskBudget: f.diskBudgetMiB << 20, MaxPackBytes: f.maxPackMiB << 20,
		Pace: func() gitrepo.Pace {
			if f.pollSet {
				return gitrepo.Pace{Every: f.pollInterval, Jitter: f.pollInterval / 5}
			}
			every, jitter := store.RepositoryPace(f.pollInterval)
			return gitrepo.Pace{Every: every, Jitter: jitter}
		},
		Environment: proxyEnvironment(os.Environ()),
		Clock:       clk, Log: logger.With("component", "git"), Registerer: registry,
	}
}

// proxyEnvironment are the variables that name proxies: git gets no others.
func proxyEnvironment(all []string) []string {
	var out []string
	for _, kv := range all {
		switch name, _, _ := strings.Cut(kv, "="); strings.ToLower(name) {
		case "http_proxy", "https_proxy", "no_proxy", "all_proxy":
			out = append(out, kv)
		}
	}
	return out
}
