package relay_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/internal/server/relay"
)

// TestAnnounce: a process announces itself, mends its entry, gives way to the
// next one, and takes only its own entry away.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	hub := fake.NewClientset()
	leases := func(c clock.Clock) *relay.Leases {
		return &relay.Leases{Client: hub.CoordinationV1(), Namespace: "argocd", Clock: c, Log: slog.New(slog.DiscardHandler)}
	}
	directory := leases(clock.RealClock{})
	finds := func(want, problem string) {
		t.Helper()
		last := ""
		for range 500 {
			address, err := directory.Find(t.Context(), "application-controller")
			text := ""
			if err != nil {
				text = err.Error()
			}
			if address == want && (err == nil) == (problem == "") && strings.Contains(text, problem) {
				return
			}
			last = address + " " + text
			<-time.After(10 * time.Millisecond)
		}
		t.Fatalf("found %s, want %s %s", last, want, problem)
	}
	run := func(identity, address string) (tick func(), end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		steps := testingclock.NewFakeClock(time.Unix(1e9, 0))
		done := make(chan error, 1)
		go func() {
			done <- leases(steps).Announce(ctx, relay.Holder{Role: "application-controller", Identity: identity, Address: address})
		}()
		return func() {
				for !steps.HasWaiters() {
					<-time.After(time.Millisecond)
				}
				steps.Step(time.Minute)
			}, func() {
				cancel()
				must(t, <-done)
			}
	}
	finds("", "nobody has announced himself")
	tick, end := run("one", "10.0.0.1:8086")
	finds("10.0.0.1:8086", "")
	must(t, hub.CoordinationV1().Leases("argocd").Delete(t.Context(), "sluice-application-controller", metav1.DeleteOptions{}))
	tick()
	finds("10.0.0.1:8086", "")
	_, endTwo := run("two", "10.0.0.2:8086")
	finds("10.0.0.2:8086", "")
	end()
	finds("10.0.0.2:8086", "")
	endTwo()
	finds("", "nobody has announced himself")
	for _, bad := range []string{"http://169.254.169.254/", "host", ":80", "h:0", "h:65536", "h:x", strings.Repeat("h", 300) + ":80"} {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "sluice-application-controller", Namespace: "argocd", Annotations: map[string]string{relay.AnnotationAddress: bad}}}
		_, err := hub.CoordinationV1().Leases("argocd").Update(t.Context(), lease, metav1.UpdateOptions{})
		must(t, err)
		finds("", "want host:port")
	}
}
