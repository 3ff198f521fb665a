package health_test

import (
	"testing"

	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

func TestHeld(t *testing.T) {
	pods := []object.Pod{
		{Name: "b", Container: "c", Waiting: "ImagePullBackOff"}, {Name: "a", Container: "c", Waiting: "CreateContainerConfigError", Message: "no secret"},
		{Name: "0", Container: "c", Waiting: "ContainerCreating"},
	}
	for want, list := range map[string][]object.Pod{
		"": {{Name: "0", Waiting: "ContainerCreating"}, {Name: "1", Ready: true}}, "pod b, container c: ImagePullBackOff": pods[:1],
		"pod a, container c: CreateContainerConfigError: no secret": pods,
	} {
		if got := health.Held(list); got != want {
			t.Errorf("held by %q, want %q", got, want)
		}
	}
}
