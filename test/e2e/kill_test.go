package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/rig"
)

// moment is an instant of a rollout, told by a line of an audit log.
type moment struct {
	name, cluster string
	seen          func(fleet.Audit, string) bool
}

type auditLine = fleet.Audit

func mentions(a fleet.Audit, text string) bool { return bytes.Contains(a.RequestObject, []byte(text)) }

func hubWrite(resource, text string) func(fleet.Audit, string) bool {
	return func(a fleet.Audit, _ string) bool {
		return a.Write() && a.ObjectRef.Resource == resource && mentions(a, text)
	}
}

func operation(app string) func(fleet.Audit, string) bool {
	return func(a fleet.Audit, id string) bool {
		return a.Write() && a.ObjectRef.Resource == "applications" && strings.HasPrefix(a.ObjectRef.Name, app) &&
			mentions(a, "RolloutOperation") && mentions(a, id)
	}
}

func applied(resource string) func(fleet.Audit, string) bool {
	return func(a fleet.Audit, _ string) bool {
		return a.Write() && a.ObjectRef.Resource == resource && a.ObjectRef.Subresource == "" && strings.HasPrefix(a.UserAgent, "argocd-application-controller")
	}
}

func deploymentStatus(a fleet.Audit, _ string) bool {
	return a.Write() && a.ObjectRef.Resource == "deployments" && a.ObjectRef.Subresource == "status"
}

var moments = []moment{
	{"the rollout is recorded", "hub", hubWrite("applicationsets", `"trigger":"Revision"`)},
	{"the canary is admitted", "hub", hubWrite("applicationsets", `"status":"Pending"`)},
	{"the canary's operation is requested", "hub", operation(rig.Canary + "-")},
	{"the canary is written to", rig.Canary, applied("deployments")},
	{"the canary's Deployment moves", rig.Canary, deploymentStatus},
	{"the first primary's operation is requested", "hub", operation("us-east-1-payment")},
	{"the first primary is written to", "us-east-1", applied("deployments")},
	{"the second primary's operation is requested", "hub", operation("us-west-2-")},
	{"the second primary is written to", "us-west-2", applied("deployments")},
	{"a secondary is written to", "eu-west-1", applied("deployments")},
}

// await reads the audit log until the moment has come, from line skip on.
func (m moment) await(t *testing.T, r *rig.Rig, skip int, revision string) {
	t.Helper()
	c, err := r.Fleet.Cluster(m.cluster)
	must(t, err)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(40 * time.Second)
	for {
		lines, err := c.AuditLines()
		must(t, err)
		for _, a := range lines[min(skip, len(lines)):] {
			if m.seen(a, revision) {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatalf("moment %q did not come", m.name)
		case <-tick.C:
		}
	}
}

func lines(t *testing.T, r *rig.Rig, cluster string) int {
	t.Helper()
	c, err := r.Fleet.Cluster(cluster)
	must(t, err)
	all, err := c.AuditLines()
	must(t, err)
	return len(all)
}

// TestKilledAtTenMoments kills the process with SIGKILL at ten moments of
// rollouts; after each restart the rollout goes on, in order and within its
// limits, and nothing is written twice out of turn.
func TestKilledAtTenMoments(t *testing.T) {
	r := start(t, rig.PaymentClusters)
	_, err := r.CommitPayment("v0")
	must(t, err)
	must(t, r.Launch())
	must(t, r.ApplyPaymentLimited(t.Context(), 1))
	head, err := r.Repo.Git("rev-parse", "HEAD")
	must(t, err)
	settle(t, r, strings.TrimSpace(head), 90*time.Second)
	for i, m := range moments {
		tag := fmt.Sprintf("v%d", i+1)
		skip := lines(t, r, m.cluster)
		id, err := r.CommitPayment(tag)
		must(t, err)
		m.await(t, r, skip, id)
		r.Kill(syscall.SIGKILL)
		killed := time.Now()
		must(t, r.Launch())
		settle(t, r, id, 60*time.Second)
		resumed, err := r.FirstWriteAfter(killed)
		must(t, err)
		if took := resumed.Sub(killed); took > 10*time.Second {
			t.Errorf("killed when %s: the next write came after %s, want at most 10 s", m.name, took)
		}
		if err := r.InOrder(rig.PaymentName, "payment-service:"+tag, []string{rig.Canary}, []string{"us-east-1"}, []string{"us-west-2"}, []string{"eu-west-1", "ap-southeast-1"}); err != nil {
			t.Errorf("killed when %s: %v", m.name, err)
		}
		t.Logf("killed when %s: settled %s later", m.name, time.Since(killed).Round(100*time.Millisecond))
	}
}
