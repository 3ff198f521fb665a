package appset_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func guarded(change func(*v1alpha1.ApplicationSetSyncPolicy)) *v1alpha1.ApplicationSet {
	set := &v1alpha1.ApplicationSet{}
	if change != nil {
		set.Spec.SyncPolicy = &v1alpha1.ApplicationSetSyncPolicy{}
		change(set.Spec.SyncPolicy)
	}
	return set
}

func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("app-%02d", i))
	}
	return out
}

func TestGuardLimits(t *testing.T) {
	number := func(n int32) *int32 { return &n }
	guard := func(g v1alpha1.DeletionGuard) *v1alpha1.ApplicationSet {
		return guarded(func(p *v1alpha1.ApplicationSetSyncPolicy) { p.DeletionGuard = &g })
	}
	preserving := guarded(func(p *v1alpha1.ApplicationSetSyncPolicy) {
		p.PreserveResourcesOnDeletion, p.DeletionGuard = true, &v1alpha1.DeletionGuard{Disabled: true}
	})
	for _, c := range []struct {
		name           string
		set            *v1alpha1.ApplicationSet
		off            bool
		surplus, owned int
		deletes        bool
	}{
		{"one of three", guarded(nil), false, 1, 3, true},
		{"two of three", guarded(nil), false, 2, 3, false},
		{"the only one", guarded(nil), false, 1, 1, true},
		{"a tenth", guarded(nil), false, 10, 100, true},
		{"rounded down", guarded(nil), false, 2, 19, false},
		{"two of twenty", guarded(nil), false, 2, 20, true},
		{"more than a tenth", guarded(nil), false, 11, 100, false},
		{"F17 the whole fleet", guarded(nil), false, 100, 100, false},
		{"a larger share", guard(v1alpha1.DeletionGuard{MaxPercent: number(50)}), false, 50, 100, true},
		{"above the larger share", guard(v1alpha1.DeletionGuard{MaxPercent: number(50)}), false, 51, 100, false},
		{"no share: still one", guard(v1alpha1.DeletionGuard{MaxPercent: number(0)}), false, 1, 100, true},
		{"a count below the share", guard(v1alpha1.DeletionGuard{MaxCount: number(3)}), false, 4, 100, false},
		{"a count above the share", guard(v1alpha1.DeletionGuard{MaxCount: number(50)}), false, 11, 100, false},
		{"a count of none", guard(v1alpha1.DeletionGuard{MaxCount: number(0)}), false, 1, 100, false},
		{"switched off in the set", guard(v1alpha1.DeletionGuard{Disabled: true}), false, 100, 100, true},
		{"switched off everywhere", guarded(nil), true, 100, 100, true},
		{"on in the set, off everywhere", guard(v1alpha1.DeletionGuard{}), true, 100, 100, false},
		{"resources are preserved", preserving, true, 1, 100, false},
	} {
		r := appset.Rule(appset.Drop{Set: c.set, Off: c.off, Surplus: names(c.surplus), Owned: c.owned, Now: noon})
		if r.Delete != c.deletes || (r.Guarded == "") != c.deletes || r.Confirmed || r.Refused != "" {
			t.Errorf("%s: %+v, want deletion %v", c.name, r, c.deletes)
		}
	}
	doubtful := appset.Drop{Set: guarded(nil), Surplus: names(1), Owned: 100, Now: noon, Doubts: []string{"the host lists nothing"}}
	held := appset.Rule(doubtful)
	if held.Delete || !strings.HasSuffix(held.Guarded, "; the host lists nothing") {
		t.Errorf("a doubtful answer: %+v", held)
	}
	doubtful.Held, doubtful.Now = []string{held.Guarded}, noon.Add(time.Hour)
	if again := appset.Rule(doubtful); again.New || !again.Since.Equal(noon) {
		t.Errorf("a doubtful answer, again: %+v", again)
	}
	if r := appset.Rule(appset.Drop{Set: guarded(nil), Owned: 10, Now: noon}); r != (appset.Ruling{}) {
		t.Errorf("nothing to delete: %+v", r)
	}
}

func TestGuardConfirmation(t *testing.T) {
	with := func(word string) *v1alpha1.ApplicationSet {
		set := guarded(nil)
		set.Annotations = map[string]string{v1alpha1.AnnotationConfirmDeletion: word}
		return set
	}
	for _, c := range []struct {
		name, word         string
		surplus            []string
		confirmed          []string
		deletes, used      bool
		refused, stillHeld bool
	}{
		{"the number", "12", names(12), nil, true, true, false, false},
		{"another number", "11", names(12), nil, false, false, true, true},
		{"not a number", "true", names(12), nil, false, false, true, true},
		{"nothing", "", names(12), nil, false, false, true, true},
		{"a number with more", "12 ", names(12), nil, false, false, true, true},
		{"nothing waits", "12", nil, nil, false, false, true, false},
		{"a drop that needs none", "5", names(1), nil, true, false, true, false},
		{"the rest of what was confirmed", "12", names(12)[7:], names(12), true, true, false, false},
		{"more than was confirmed", "12", names(13), names(12), false, false, true, true},
		{"carried out", "12", nil, names(12), false, true, false, false},
	} {
		r := appset.Rule(appset.Drop{Set: with(c.word), Surplus: c.surplus, Owned: 20, Confirmed: c.confirmed, Now: noon})
		if r.Delete != c.deletes || r.Confirmed != c.used || (r.Refused != "") != c.refused || (r.Guarded != "") != c.stillHeld {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	if r := appset.Rule(appset.Drop{Set: with("11"), Surplus: names(12), Owned: 20, Now: noon}); !strings.HasSuffix(r.Refused, "confirm with 12") {
		t.Errorf("refusal %q", r.Refused)
	}
}

func TestGuardMessage(t *testing.T) {
	d := appset.Drop{Set: guarded(nil), Surplus: names(12), Owned: 20, Now: noon}
	first := appset.Rule(d)
	want := "12 of 20 Applications are no longer generated and are kept since 2026-07-01T12:00:00Z: " + strings.Join(names(10), ", ") +
		" and 2 more: correct the generators, or confirm with annotation argocd.argoproj.io/confirm-deletion=12"
	if first.Guarded != want {
		t.Errorf("message\n%s, want\n%s", first.Guarded, want)
	}
	d.Now, d.Held = noon.Add(time.Hour), []string{"something else", first.Guarded}
	if again := appset.Rule(d); again.Guarded != first.Guarded || again.Since != noon || again.New || !first.New {
		t.Errorf("the same surplus an hour later: %+v", again)
	}
	d.Owned = 21
	if grown := appset.Rule(d); grown.Since != noon || grown.New || !strings.HasPrefix(grown.Guarded, "12 of 21 ") {
		t.Errorf("the same surplus of a larger set: %+v", grown)
	}
	d.Surplus = names(13)
	if other := appset.Rule(d); other.Guarded == first.Guarded || other.Since != d.Now || !other.New {
		t.Errorf("another surplus: %+v", other)
	}
}
