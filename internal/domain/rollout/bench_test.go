package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// BenchmarkNext decides for 2,000 members that have all just been rendered.
func BenchmarkNext(b *testing.B) {
	set := rolling(step("w", "In", "0"), step("w", "In", "1", "2"), step("w", "NotIn", "0", "1", "2"))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var members []rollout.Member
	for i := range 2000 {
		app := &v1alpha1.Application{}
		app.Name = fmt.Sprintf("app-%04d", i)
		app.Labels = map[string]string{"w": fmt.Sprint(i % 8)}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		class, n := rollout.Classify(set, true, app, nil)
		members = append(members, rollout.Member{Rendered: app, Live: app, Class: class, Step: n, Target: rollout.Target{SpecHash: "s", Revisions: []string{"r"}}})
	}
	in := rollout.Input{Set: set, Members: members, Now: now}
	b.ReportAllocs()
	for b.Loop() {
		d := rollout.Next(in)
		if len(d.Applications) != len(members) {
			b.Fatalf("record of %d members, want %d", len(d.Applications), len(members))
		}
	}
}
