package stage

import (
	"testing"

	"sigs.k8s.io/kwok/pkg/apis/internalversion"
)

func TestShippedStagesLoad(t *testing.T) {
	t.Parallel()
	set, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[internalversion.StageResourceRef]int{
		{APIGroup: "v1", Kind: "Pod"}: 8, {APIGroup: "v1", Kind: "Node"}: 1, {APIGroup: "v1", Kind: "Service"}: 1,
		{APIGroup: "networking.k8s.io/v1", Kind: "Ingress"}: 1, {APIGroup: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}: 1,
	} {
		if got := len(set[ref]); got != want {
			t.Errorf("%v: %d stages, want %d", ref, got, want)
		}
	}
	if _, err := Load([]string{"no-such-file"}); err == nil {
		t.Error("a missing stage file is accepted")
	}
}
