package rollout_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// fleet is a set of five steps of 10% with so many members, a third of them
// Healthy at the new revision, some in flight, the rest outdated.
func fleet(n int) rollout.Input {
	ten := intstr.FromString("10%")
	set := rolling()
	set.UID = "0123456789"
	for i := range 5 {
		s := step("w", "In", fmt.Sprint(i))
		s.MaxUpdate = &ten
		set.Spec.Strategy.RollingSync.Steps = append(set.Spec.Strategy.RollingSync.Steps, s)
	}
	in := rollout.Input{Set: set, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for i := range n {
		app := &v1alpha1.Application{}
		app.Name = fmt.Sprintf("payment-service-eu-west-%04d", i)
		app.UID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		app.Labels = map[string]string{"w": fmt.Sprint(i * 5 / n)}
		app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: "apps", TargetRevision: "main"}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		class, k := rollout.Classify(set, true, app, nil)
		live := app.DeepCopy()
		compared(live, i < n/3, fmt.Sprintf("%064x", i*7919))
		in.Members = append(in.Members, rollout.Member{
			Rendered: app, Live: live, Class: class, Step: k,
			Target: rollout.Target{SpecHash: fmt.Sprintf("%016x", i*104729+1), Revisions: []string{revision}},
		})
	}
	return in
}

const revision = "0123456789abcdef0123456789abcdef01234567"

// compared makes an Application look compared with the target.
func compared(app *v1alpha1.Application, synced bool, digest string) {
	s := &app.Status
	s.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusOutOfSync, Revision: revision, Digest: digest}
	s.Sync.ComparedTo = v1alpha1.ComparedTo{Source: *app.Spec.Source, Destination: app.Spec.Destination}
	s.Health.Status = v1alpha1.HealthHealthy
	if synced {
		s.Sync.Status = v1alpha1.SyncStatusSynced
	}
}

// settle runs the planner until the record stands.
func settle(t testing.TB, in rollout.Input) rollout.Decision {
	t.Helper()
	for range 5 {
		d := rollout.Next(in)
		same := in.Set.Status.Rollout != nil && in.Set.Status.Rollout.Record == d.Rollout.Record
		in.Set.Status.Rollout, in.Set.Status.ApplicationStatus = d.Rollout, d.Applications
		if same {
			return d
		}
	}
	t.Fatal("the planner does not come to rest")
	return rollout.Decision{}
}

// BenchmarkNext decides for fleets of growing size; time per member must stay
// the same. Its figures: ns/member and the bytes of the stored status.
func BenchmarkNext(b *testing.B) {
	for _, n := range []int{500, 1000, 2000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := fleet(n)
			settle(b, in)
			b.ReportAllocs()
			for b.Loop() {
				if d := rollout.Next(in); len(d.Applications) != n {
					b.Fatalf("record of %d members, want %d", len(d.Applications), n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/member")
			status := in.Set.Status.DeepCopy()
			rollout.Fit(status)
			raw, err := json.Marshal(status)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(raw)), "status-bytes")
		})
	}
}
