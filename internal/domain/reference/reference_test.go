package reference_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/domain/reference"
)

func find(secret, key string) (string, bool) {
	v, ok := map[string]string{"/oidc.secret": " s3 \n", "other/key": "k", "/a:b": "never"}[secret+"/"+key]
	return v, ok
}

func TestResolve(t *testing.T) {
	for value, want := range map[string][2]string{
		"plain":          {"plain", ""},
		"$":              {"$", ""},
		"$oidc.secret":   {"s3", ""},
		"$other:key":     {"k", ""},
		"$a:b":           {"$a:b", "$a:b"},
		"$nowhere":       {"$nowhere", "$nowhere"},
		"x$oidc.secret":  {"x$oidc.secret", ""},
		"$oidc.secret x": {"$oidc.secret x", "$oidc.secret x"},
	} {
		if got, missing := reference.Resolve(value, find); got != want[0] || missing != want[1] {
			t.Errorf("%q: %q, missing %q", value, got, missing)
		}
	}
}

func TestResolveAll(t *testing.T) {
	in := map[string]any{"a": "$oidc.secret", "n": 7.0, "l": []any{"$other:key", map[string]any{"x": "$gone"}}}
	got, missing := reference.ResolveAll(in, find)
	want := map[string]any{"a": "s3", "n": 7.0, "l": []any{"k", map[string]any{"x": "$gone"}}}
	if diff := cmp.Diff(want, got); diff != "" || !slices.Equal(missing, []string{"$gone"}) {
		t.Errorf("%v %s", missing, diff)
	}
	if in["a"] != "$oidc.secret" {
		t.Error("the original is changed")
	}
}
