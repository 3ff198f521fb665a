package appset_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
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
