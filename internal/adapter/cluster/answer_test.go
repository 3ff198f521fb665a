package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestUnanswered: a stream that breaks says nothing of the object; the answer
// of a server, and errors of others than clusters, are what they say.
func TestUnanswered(t *testing.T) {
	broken := &url.Error{Op: "Patch", URL: "https://far", Err: errors.New("stream error: stream ID 5; INTERNAL_ERROR")}
	invalid := apierrors.NewBadRequest("no")
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"none":                  {nil, false},
		"a broken stream":       {Unanswered(fmt.Errorf("configmap/a: %w", broken)), true},
		"not of a cluster":      {fmt.Errorf("chart: %w", broken), false},
		"an answer":             {Unanswered(invalid), false},
		"throttled":             {Unanswered(apierrors.NewTooManyRequests("later", 1)), true},
		"an object that exists": {Unanswered(apierrors.NewAlreadyExists(schema.GroupResource{}, "a")), false},
	} {
		if got := Unreachable(c.err); got != c.want {
			t.Errorf("%s: unreachable %v, want %v", name, got, c.want)
		}
	}
	if Unanswered(broken).Error() != broken.Error() {
		t.Error("the text of the error changed")
	}
}

// TestBrief: annotations that are too long come with what helps, the text of a
// Secret is withheld.
func TestBrief(t *testing.T) {
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "a", field.ErrorList{field.TooLong(field.NewPath("metadata", "annotations"), "", 262144)})
	object := func(kind string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion("v1")
		u.SetKind(kind)
		u.SetName("a")
		return u
	}
	const advice = ": apply it with sync option ServerSideApply=true, or Replace=true, which keep no copy of the object in its annotations"
	if got := Brief(object("ConfigMap"), invalid); got != invalid.Error()+advice {
		t.Errorf("got %s", got)
	}
	if got := Brief(object("Secret"), invalid); got != "Secret a: Invalid (details are withheld, for they may show a value)"+advice {
		t.Errorf("got %s", got)
	}
	if got := Brief(object("ConfigMap"), apierrors.NewBadRequest("no")); got != "no" {
		t.Errorf("got %s", got)
	}
}
