package application

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestWeigh: a comparison that fails is Unknown with its reason, and one made
// without the API server says so.
func TestWeigh(t *testing.T) {
	maps := schema.GroupResource{Resource: "configmaps"}
	forbidden := apierrors.NewForbidden(maps, "a", errors.New("no right to patch"))
	denied := apierrors.NewForbidden(maps, "a", errors.New(`admission webhook "x" denied the request: no`))
	noDryRun := apierrors.NewBadRequest(`admission webhook "x" does not support dry run`)
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "a", nil)
	noSchema := errors.New("the cluster publishes none")
	for _, c := range []struct {
		name             string
		refusal, failure error
		modified         bool
		unknown, memory  string
	}{
		{name: "the server answered"},
		{name: "the server answered that it differs", modified: true},
		{name: "a rule failed", failure: errors.New("spec.ignoreDifferences[0]: took longer"), unknown: "took longer"},
		{name: "no right to ask", refusal: forbidden, memory: "no right to patch"},
		{name: "no right to ask, different", refusal: forbidden, modified: true, memory: "no right to patch"},
		{name: "a webhook without dry run", refusal: noDryRun, memory: "does not support dry run"},
		{name: "no right and no schema", refusal: forbidden, failure: noSchema, unknown: "no prediction in memory: the cluster publishes none"},
		{name: "refused, and different", refusal: invalid, modified: true},
		{name: "refused, though nothing differs", refusal: invalid, unknown: "refuses what Git asks for"},
		{name: "denied by a webhook, though nothing differs", refusal: denied, unknown: "denied the request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
			unknown, memory := weigh(target, c.refusal, c.failure, c.modified)
			if !strings.Contains(unknown, c.unknown) || (unknown == "") != (c.unknown == "") || !strings.Contains(memory, c.memory) || (memory == "") != (c.memory == "") {
				t.Errorf("unknown %q, memory %q; want %q and %q", unknown, memory, c.unknown, c.memory)
			}
		})
	}
	secret := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"}}}
	if unknown, _ := weigh(secret, apierrors.NewBadRequest(`invalid value "hunter2"`), nil, false); strings.Contains(unknown, "hunter2") || !strings.Contains(unknown, "Secret s: BadRequest") {
		t.Errorf("the refusal of a Secret reads %q", unknown)
	}
}

func TestUnasked(t *testing.T) {
	for _, c := range []struct {
		own, everybody string
		want           bool
	}{
		{"", "", false}, {"", "true", false}, {"", "false", true}, {"ServerSideDiff=true", "false", false},
		{"IncludeMutationWebhook=true,ServerSideDiff=false", "", true}, {"ServerSideDiff=false", "true", true},
	} {
		if got := unasked(commaList(c.own), c.everybody); got != c.want {
			t.Errorf("%q, %q: %v", c.own, c.everybody, got)
		}
	}
}
