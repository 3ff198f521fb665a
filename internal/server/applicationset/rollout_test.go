package applicationset

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// may lets everybody do these actions on ApplicationSets.
type may []string

func (m may) Allowed(_ access.Principal, what access.Request) bool {
	for _, action := range m {
		if what.Resource == "applicationsets" && what.Action == action {
			return true
		}
	}
	return false
}

// desk notes what reaches it.
type desk struct {
	asked []string
	err   error
}

func (d *desk) View(context.Context, types.NamespacedName) (*rollout.View, error) {
	return &rollout.View{ID: 4, Summary: "step 2 waits for approval"}, nil
}

func (d *desk) Plan(context.Context, types.NamespacedName) (*rollout.Plan, error) {
	return &rollout.Plan{}, nil
}

func (d *desk) PlanOf(context.Context, *v1alpha1.ApplicationSet) (*rollout.Plan, error) {
	return &rollout.Plan{}, nil
}

func (d *desk) Ask(_ context.Context, _ types.NamespacedName, ask rollout.Ask, user string) (string, error) {
	d.asked = append(d.asked, string(ask.Verb)+" by "+user)
	return "", d.err
}

func code(err error) fault.Code {
	c, _ := fault.Of(err)
	return c
}

// rig is the service over one set, and a call of a route with these rights.
func rig(t *testing.T, d *desk) (*Service, func(operation string, rights may) *route.Call) {
	t.Helper()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	set := &v1alpha1.ApplicationSet{}
	set.Name, set.Namespace, set.UID, set.ResourceVersion = "payment", "argocd", "u1", "1"
	set.Spec.Template.Spec.Project = "payments"
	hub.Sets.Put(set)
	s := New(Options{Hub: hub, Desk: func() Desk { return d }, Log: slog.New(slog.DiscardHandler), Clock: testclock.NewFakePassiveClock(time.Unix(1_800_000_000, 0))})
	return s, func(operation string, rights may) *route.Call {
		for _, r := range s.Routes() {
			if r.Operation() == operation {
				return route.NewCall(&r, access.Principal{Subject: "alice", Issuer: "argocd", Name: "alice"}, rights)
			}
		}
		t.Fatalf("no operation %s", operation)
		return nil
	}
}

// TestN9PromoteNeedsItsPermission: who may only look sees the rollout and
// cannot promote; each verb needs its own action, and update implies all.
func TestN9PromoteNeedsItsPermission(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb   string
		rights may
		want   bool
	}{
		{"promote", may{"get"}, false},
		{"promote", may{"get", "rollout/pause"}, false},
		{"promote", may{"get", "rollout/promote"}, true},
		{"approve", may{"get", "rollout/promote"}, true},
		{"promote", may{"get", "update"}, true},
		{"pause", may{"get", "rollout/pause"}, true},
		{"resume", may{"get", "rollout/pause"}, true},
		{"retry", may{"get", "rollout/promote"}, false},
		{"abort", may{"get", "rollout/abort"}, true},
		{"rollback", may{"get", "rollout/abort"}, false},
		{"promote", nil, false},
	} {
		d := &desk{}
		s, call := rig(t, d)
		_, err := s.Steer(t.Context(), call("SteerRollout", c.rights), &SteerRequest{Named: Named{Name: "payment"}, Verb: c.verb, Rollout: 4})
		if got := err == nil; got != c.want || (len(d.asked) == 1) != c.want {
			t.Errorf("%s with %v: %v, asked %v", c.verb, c.rights, err, d.asked)
		}
		if err != nil && code(err) != fault.PermissionDenied {
			t.Errorf("%s with %v: %v, want permission denied", c.verb, c.rights, err)
		}
		if c.want && !strings.HasSuffix(d.asked[0], " by alice") {
			t.Errorf("%s reached the desk as %v", c.verb, d.asked)
		}
	}
	s, call := rig(t, &desk{})
	view, err := s.Rollout(t.Context(), call("GetRollout", may{"get"}), &Named{Name: "payment"})
	if err != nil || view.ID != 4 {
		t.Errorf("who may get sees %+v, %v", view, err)
	}
	if _, err := s.Rollout(t.Context(), call("GetRollout", may{"rollout/promote"}), &Named{Name: "payment"}); err == nil {
		t.Error("who may not get sees the rollout")
	}
}

// TestRefusalsHaveCodes: what a request is refused for tells a client what to
// do about it.
func TestRefusalsHaveCodes(t *testing.T) {
	t.Parallel()
	for why, want := range map[rollout.Refused]fault.Code{
		rollout.Misread: fault.InvalidArgument, rollout.Stale: fault.Aborted, rollout.NotNow: fault.FailedPrecondition,
	} {
		s, call := rig(t, &desk{err: &rollout.Refusal{Why: why, Text: "why"}})
		_, err := s.Steer(t.Context(), call("SteerRollout", may{"update", "get"}), &SteerRequest{Named: Named{Name: "payment"}, Verb: "abort", Rollout: 4})
		if code(err) != want {
			t.Errorf("%s: %v is %v", why, err, code(err))
		}
	}
	s, call := rig(t, &desk{})
	if _, err := s.Steer(t.Context(), call("SteerRollout", may{"update"}), &SteerRequest{Named: Named{Name: "payment"}, Verb: "explode"}); code(err) != fault.InvalidArgument {
		t.Errorf("no verb: %v", err)
	}
}

// TestN8GenerateWithThePlan: a set that is not saved is rendered with what its
// rollout would do when that is asked for, and nothing is written.
func TestN8GenerateWithThePlan(t *testing.T) {
	t.Parallel()
	s, call := rig(t, &desk{})
	s.Preview = func() func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) {
		return func(context.Context, *v1alpha1.ApplicationSet) ([]v1alpha1.Application, error) { return nil, nil }
	}
	project := &v1alpha1.AppProject{}
	project.Name, project.Namespace, project.ResourceVersion = "payments", "argocd", "1"
	s.Hub.Projects.Put(project)
	set := v1alpha1.ApplicationSet{}
	set.Name = "unsaved"
	set.Spec.Template.Spec.Project = "payments"
	for _, wanted := range []bool{true, false} {
		out, err := s.Generate(t.Context(), call("Generate", may{"create"}), &GenerateRequest{ApplicationSet: set, Rollout: wanted})
		if err != nil || (out.Plan != nil) != wanted {
			t.Errorf("rollout %v: %+v, %v", wanted, out, err)
		}
	}
	s.Desk = nil
	if _, err := s.Generate(t.Context(), call("Generate", may{"create"}), &GenerateRequest{ApplicationSet: set, Rollout: true}); code(err) != fault.Unavailable {
		t.Errorf("without a desk: %v", err)
	}
}
