package appset_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// TestBounds: a few hundred lines must not become millions of Applications.
func TestBounds(t *testing.T) {
	list := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat("{},", n), ",") + "]"
	}
	for want, generators := range map[string]string{
		"yields more than 50000": fmt.Sprintf("[{matrix: {generators: [{list: {elements: %s}}, {list: {elements: %s}}]}}]", list(1000), list(1000)),
		"yields 50001":           fmt.Sprintf("[{list: {elementsYaml: %q}}]", list(50001)),
	} {
		set := &v1alpha1.ApplicationSet{}
		if err := yaml.UnmarshalStrict([]byte("generators: "+generators), &set.Spec); err != nil {
			t.Fatal(err)
		}
		if _, err := appset.Parameters(set, appset.World{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestUnusableClusters: a registration that cannot be used makes the answer of
// a generator that would have chosen it incomplete, and of no other.
func TestUnusableClusters(t *testing.T) {
	world := appset.World{Clusters: fleet(), Unusable: destination.Clusters{{SecretName: "broken", Labels: map[string]string{"env": "prod"}}}}
	for generators, want := range map[string]int{
		"[{clusters: {selector: {matchLabels: {env: prod}}}}]":                                                                 1,
		"[{matrix: {generators: [{list: {elements: [{a: x}, {a: z}]}}, {clusters: {selector: {matchLabels: {env: prod}}}}]}}]": 1,
		"[{clusters: {}}]": 1,
		"[{clusters: {selector: {matchLabels: {env: test}}}}]": 0,
		"[{list: {elements: [{name: a, server: s}]}}]":         0,
	} {
		set := &v1alpha1.ApplicationSet{}
		if err := yaml.UnmarshalStrict([]byte("generators: "+generators+template), &set.Spec); err != nil {
			t.Fatal(err)
		}
		got, err := appset.Evaluate(set, world)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Incomplete) != want {
			t.Errorf("%s: %v", generators, got.Incomplete)
		}
	}
}
