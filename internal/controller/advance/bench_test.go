package advance

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// memory is a cache of Applications; like the real one it hands out copies.
type memory struct {
	cache.Cache
	apps []v1alpha1.Application
}

func (m *memory) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	list, ok := into.(*v1alpha1.ApplicationList)
	if !ok {
		return errListed
	}
	list.Items = make([]v1alpha1.Application, len(m.apps))
	for i := range m.apps {
		m.apps[i].DeepCopyInto(&list.Items[i])
	}
	return nil
}

const benchRevision = "0123456789abcdef0123456789abcdef01234567"

// busy is a set of five steps of 10% in the middle of its rollout.
func busy(n int) *turn {
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "0123456789"}}
	ten := intstr.FromString("10%")
	set.Spec.Strategy = &v1alpha1.ApplicationSetStrategy{Type: rollout.TypeRollingSync, RollingSync: &v1alpha1.RollingSync{}}
	for i := range 5 {
		set.Spec.Strategy.RollingSync.Steps = append(set.Spec.Strategy.RollingSync.Steps, v1alpha1.RolloutStep{
			MatchExpressions: []v1alpha1.StepMatchExpression{{Key: "w", Operator: "In", Values: []string{fmt.Sprint(i)}}}, MaxUpdate: &ten,
		})
	}
	m, outcome, yes := &memory{}, appset.Outcome{Set: key, Complete: true}, true
	for i := range n {
		app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: fmt.Sprintf("payment-service-eu-west-%04d", i), Labels: map[string]string{"w": fmt.Sprint(i * 5 / n)},
		}}
		app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/fleet.git", Path: "apps", TargetRevision: "main"}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{}}
		outcome.Applications = append(outcome.Applications, app)
		live := app.DeepCopy()
		live.UID, live.ResourceVersion = types.UID(fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", i)), fmt.Sprint(i)
		live.OwnerReferences = []metav1.OwnerReference{{Kind: v1alpha1.ApplicationSetKind, Name: set.Name, UID: set.UID, Controller: &yes}}
		s := &live.Status
		s.Sync = v1alpha1.SyncStatus{Status: v1alpha1.SyncStatusOutOfSync, Revision: benchRevision, Digest: fmt.Sprintf("%064x", i*7919)}
		s.Sync.ComparedTo.Source = *app.Spec.Source
		s.Health.Status = v1alpha1.HealthHealthy
		if i < n/3 {
			s.Sync.Status = v1alpha1.SyncStatusSynced
		}
		for r := range 10 {
			s.History = append(s.History, v1alpha1.RevisionHistory{ID: int64(r), Revision: benchRevision, Source: *app.Spec.Source})
		}
		for r := range 10 {
			s.Resources = append(s.Resources, v1alpha1.ResourceStatus{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "payments", Name: fmt.Sprint("web-", r), Status: s.Sync.Status})
		}
		m.apps = append(m.apps, *live)
	}
	c := New(Options{
		Cache: m, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Subscribe: func(string, v1alpha1.ApplicationSource, func()) (func(), error) { return func() {}, nil },
		Facts: Facts{
			Gate: true, Clock: testclock.NewFakeClock(time.Unix(1_800_000_000, 0)),
			Resolve: func(context.Context, string, v1alpha1.ApplicationSource) (string, error) { return benchRevision, nil },
		},
	})
	s := &state{sent: map[string]sent{}, hashes: map[string]hashed{}, following: map[source]func(){}, measuring: map[measurement]bool{}}
	return &turn{Controller: c, key: key, set: set, state: s, outcome: outcome, log: c.Log}
}

// spent is the CPU time of this process so far, garbage collection included.
func spent(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTurn is all that an advance of a set computes: what is live is
// read, decided on, and compared with what is stored. Its figures: CPU time of
// the process for a turn, bytes of the stored status.
func BenchmarkTurn(b *testing.B) {
	for _, n := range []int{500, 1000, 2000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := busy(n)
			for range 3 { // until the record stands
				if err := t.read(b.Context()); err != nil {
					b.Fatal(err)
				}
				t.set.Status, _, _ = t.decide(b.Context())
			}
			if len(t.set.Status.ApplicationStatus) != n || t.set.Status.Rollout.CurrentStep == 0 {
				b.Fatalf("%d Applications in step %d", len(t.set.Status.ApplicationStatus), t.set.Status.Rollout.CurrentStep)
			}
			before := spent(b)
			for b.Loop() {
				if err := t.read(b.Context()); err != nil {
					b.Fatal(err)
				}
				next, _, _ := t.decide(b.Context())
				if t.differs(next) {
					b.Fatal("a turn in which nothing happened would write")
				}
			}
			b.ReportMetric(float64((spent(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			raw, err := json.Marshal(t.set.Status)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(raw)), "status-bytes")
		})
	}
}
