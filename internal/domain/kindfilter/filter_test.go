package kindfilter_test

import (
	"strings"
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
)

func TestExcluded(t *testing.T) {
	const eu, us = "https://eu.example.com", "https://us.example.com"
	cases := map[string]struct {
		exclusions, inclusions string
		// seen and hidden are group/Kind@server.
		seen, hidden []string
	}{
		"nothing set": {seen: []string{"/Secret@" + eu, "apps/Deployment@" + eu, "/Endpoints@" + eu},
			hidden: []string{"/Event@" + eu, "events.k8s.io/Event@" + eu, "metrics.k8s.io/PodMetrics@" + eu, "coordination.k8s.io/Lease@" + eu}},
		"globs of groups, kinds as they are": {exclusions: "[{apiGroups: ['*.example.com'], kinds: [Widget]}]",
			seen: []string{"a.example.com/Gadget@" + eu, "example.com/Widget@" + eu}, hidden: []string{"a.example.com/Widget@" + eu, "a.b.example.com/Widget@" + eu}},
		"star is any kind":     {exclusions: "[{apiGroups: [cilium.io], kinds: ['*']}]", hidden: []string{"cilium.io/CiliumIdentity@" + eu}, seen: []string{"/Pod@" + eu}},
		"kinds are no globs":   {exclusions: "[{apiGroups: [''], kinds: ['Conf*']}]", seen: []string{"/ConfigMap@" + eu}},
		"one server":           {exclusions: "[{kinds: [Secret], clusters: ['https://eu.*']}]", hidden: []string{"/Secret@" + eu}, seen: []string{"/Secret@" + us}},
		"empty entry is all":   {exclusions: "[{clusters: ['" + eu + "']}]", hidden: []string{"/Secret@" + eu}, seen: []string{"/Secret@" + us}},
		"only what is named":   {inclusions: "[{apiGroups: [apps]}]", seen: []string{"apps/Deployment@" + eu}, hidden: []string{"/Secret@" + eu}},
		"named for one server": {inclusions: "[{apiGroups: [apps], clusters: ['" + eu + "']}]", seen: []string{"apps/Deployment@" + eu, "/Secret@" + us}, hidden: []string{"/Secret@" + eu}},
		"exclusion wins": {exclusions: "[{apiGroups: [apps], kinds: [ReplicaSet]}]", inclusions: "[{apiGroups: [apps]}, {apiGroups: ['']}]",
			seen: []string{"apps/Deployment@" + eu, "/Secret@" + eu}, hidden: []string{"apps/ReplicaSet@" + eu, "/Event@" + eu, "batch/Job@" + eu}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f, problems := kindfilter.Parse(map[string]string{"resource.exclusions": c.exclusions, "resource.inclusions": c.inclusions})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			for want, list := range map[bool][]string{false: c.seen, true: c.hidden} {
				for _, text := range list {
					kind, server, _ := strings.Cut(text, "@")
					group, name, _ := strings.Cut(kind, "/")
					if got := f.Excluded(group, name, server); got != want {
						t.Errorf("%s excluded: %v, want %v", text, got, want)
					}
				}
			}
		})
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"{apiGroups: [a]}":           "want a list",
		"[{apigroup: [a]}]":          "want a list",
		"[{apiGroups: ['[a']}]":      "is not a pattern",
		"- apiGroups: a":             "want a list",
		"[{clusters: ['https://{']}": "want a list",
	} {
		f, problems := kindfilter.Parse(map[string]string{"resource.exclusions": text, "resource.inclusions": "[{apiGroups: ['']}]"})
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), want) || !strings.Contains(problems[0].Error(), "resource.exclusions") {
			t.Errorf("%s: problems %v, want one with %q", text, problems, want)
		}
		if !f.Excluded("apps", "Deployment", "x") || f.Excluded("", "Secret", "x") {
			t.Errorf("%s: the other key was not read", text)
		}
	}
}

func TestParseRespect(t *testing.T) {
	for text, want := range map[string]kindfilter.Respect{"": kindfilter.RespectOff, "normal": kindfilter.RespectNormal, "strict": kindfilter.RespectStrict} {
		if got, err := kindfilter.ParseRespect(map[string]string{"resource.respectRBAC": text}); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	got, err := kindfilter.ParseRespect(map[string]string{"resource.respectRBAC": "Strict"})
	if got != kindfilter.RespectOff || err == nil || !strings.Contains(err.Error(), `key "resource.respectRBAC" is "Strict": want normal, strict or nothing`) {
		t.Errorf("%q, %v", got, err)
	}
}
