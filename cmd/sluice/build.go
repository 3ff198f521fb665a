package main

import (
	"runtime/debug"
	"strings"

	"github.com/sluice-cd/sluice/internal/cli/console"
	"github.com/sluice-cd/sluice/internal/server/setting"
)

// compatible is the version of Argo CD whose API is served; clients compare it
// to decide what they may ask for.
const compatible = "v3.5.0"

// buildOf is what the API says of this program: the version that clients know,
// and which build of ours it is (spec/api.md §3, others).
func buildOf(version string) setting.Build {
	b := console.BuildOf(version)
	out := setting.Build{
		Version: compatible + "+" + word(version), BuildDate: b.BuildDate, GitCommit: b.GitCommit, GitTreeState: b.GitTreeState, ExtraBuildInfo: "sluice " + version,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "helm.sh/helm/v4":
			out.HelmVersion = m.Version
		case "sigs.k8s.io/kustomize/api":
			out.KustomizeVersion = m.Version
		case "k8s.io/client-go":
			out.KubectlVersion = m.Version
		case "github.com/google/go-jsonnet":
			out.JsonnetVersion = m.Version
		}
	}
	return out
}

// word makes a text fit for what stands after the plus of a version.
func word(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, text)
}
