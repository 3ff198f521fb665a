package admin

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestHeldLeases(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	somebody, nobody, seconds := "pod", "", int32(15)
	at := func(ago time.Duration) *metav1.MicroTime { m := metav1.NewMicroTime(now.Add(-ago)); return &m }
	for name, c := range map[string]struct {
		spec coordinationv1.LeaseSpec
		want bool
	}{
		"renewed just now":        {coordinationv1.LeaseSpec{HolderIdentity: &somebody, RenewTime: at(time.Second), LeaseDurationSeconds: &seconds}, true},
		"by a clock that is fast": {coordinationv1.LeaseSpec{HolderIdentity: &somebody, RenewTime: at(-time.Hour), LeaseDurationSeconds: &seconds}, true},
		"by a clock that is slow": {coordinationv1.LeaseSpec{HolderIdentity: &somebody, RenewTime: at(40 * time.Second), LeaseDurationSeconds: &seconds}, true},
		"long ago":                {coordinationv1.LeaseSpec{HolderIdentity: &somebody, RenewTime: at(time.Minute), LeaseDurationSeconds: &seconds}, false},
		"given back":              {coordinationv1.LeaseSpec{HolderIdentity: &nobody, RenewTime: at(time.Second), LeaseDurationSeconds: &seconds}, false},
		"never taken":             {coordinationv1.LeaseSpec{}, false},
	} {
		if got := held(&coordinationv1.Lease{Spec: c.spec}, now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
