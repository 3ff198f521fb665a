package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

func app(name string, version int) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.Name, a.Namespace, a.UID, a.ResourceVersion = name, "argocd", types.UID("uid-"+name), fmt.Sprint(version)
	return a
}

func namesOf[T interface{ GetName() string }](items []T) string {
	var out []string
	for _, i := range items {
		out = append(out, i.GetName())
	}
	return strings.Join(out, " ")
}

func shown(x *Index[*v1alpha1.Application]) string {
	var out []string
	for _, s := range x.Snapshot().Items {
		out = append(out, s.Object.Name+s.Object.ResourceVersion)
	}
	return strings.Join(out, " ")
}

func TestIndexKeepsTheNewest(t *testing.T) {
	t.Parallel()
	x := NewIndex[*v1alpha1.Application]()
	x.Put(app("b", 1))
	x.Put(app("a", 2))
	before := x.Snapshot()
	x.Wrote(app("b", 7)) // by this process
	x.Put(app("b", 3))   // the informer lags
	if got := shown(x); got != "a2 b7" || x.Snapshot().Version != "7" {
		t.Errorf("got %s at %s", got, x.Snapshot().Version)
	}
	if before.Items[1].Object.ResourceVersion != "1" {
		t.Error("a snapshot that was given changed")
	}
	again := app("b", 4)
	again.UID = "another"
	x.Put(again) // made anew on another hub's counter: another object
	x.Remove(app("b", 9))
	if got := shown(x); got != "a2 b4" {
		t.Errorf("the end of an object took its successor away: %s", got)
	}
	x.Remove(again)
	if got := shown(x); got != "a2" || x.Len() != 1 {
		t.Errorf("got %s", got)
	}
	if _, ok := x.Get(types.NamespacedName{Namespace: "argocd", Name: "b"}); ok {
		t.Error("b is still found")
	}
}

func TestWatchersSeeWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	x := NewIndex[*v1alpha1.Application]()
	x.Put(app("a", 1))
	all := x.Watch(func(*v1alpha1.Application) bool { return true }, true)
	onlyB := x.Watch(func(a *v1alpha1.Application) bool { return a.Name == "b" }, true)
	x.Put(app("b", 2))
	x.Put(app("a", 3))
	for name, c := range map[string]struct {
		watch *Watch[*v1alpha1.Application]
		want  string
	}{"all": {all, "ADDED a3 ADDED b2"}, "b": {onlyB, "ADDED b2"}} {
		changes, err := c.watch.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, change := range changes {
			got = append(got, string(change.Kind)+" "+change.Value.Object.Name+change.Value.Object.ResourceVersion)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	all.Stop()
	onlyB.Stop()
	if x.Watchers() != 0 {
		t.Errorf("%d watchers are left", x.Watchers())
	}
}

func TestSharedIsEncodedOnce(t *testing.T) {
	t.Parallel()
	s := &Shared[*v1alpha1.Application]{Object: app("a", 1)}
	times := 0
	for range 3 {
		for _, fields := range []string{"", "name"} {
			raw, err := s.Encoded(fields, func() ([]byte, error) { times++; return []byte(fields), nil })
			if err != nil || string(raw) != fields {
				t.Fatalf("%q, %v", raw, err)
			}
		}
	}
	if times != 2 {
		t.Errorf("encoded %d times for 2 selections", times)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	x := NewIndex[*v1alpha1.Application]()
	for i, name := range []string{"delta", "alpha", "charlie", "bravo"} {
		a := app(name, i+1)
		a.Spec.Project = []string{"y", "x"}[i%2]
		x.Put(a)
	}
	columns := Columns[*v1alpha1.Application]{
		Texts: func(a *v1alpha1.Application) []string { return []string{a.Name} },
		Sort:  map[string]func(*v1alpha1.Application) string{"project": func(a *v1alpha1.Application) string { return a.Spec.Project }},
	}
	all := x.Snapshot()
	for _, c := range []struct {
		page  Page
		want  string
		total int
		next  string
	}{
		{Page{}, "alpha bravo charlie delta", 4, ""},
		{Page{Sort: "-name"}, "delta charlie bravo alpha", 4, ""},
		{Page{Sort: "project"}, "alpha bravo charlie delta", 4, ""},
		{Page{Sort: "-project"}, "delta charlie bravo alpha", 4, ""},
		{Page{Search: "A", Limit: 2}, "alpha bravo", 4, "2"},
		{Page{Search: "RAV"}, "bravo", 1, ""},
		{Page{Limit: 3, Offset: 3}, "delta", 4, ""},
		{Page{Offset: 9}, "", 4, ""},
	} {
		items, total, err := Cut(all, func(*Shared[*v1alpha1.Application]) bool { return true }, c.page, columns)
		if err != nil {
			t.Fatal(err)
		}
		if got := namesOf(items); got != c.want || total != c.total || Continue(c.page, len(items), total) != c.next {
			t.Errorf("%+v: %s of %d, next %q", c.page, got, total, Continue(c.page, len(items), total))
		}
	}
	for _, bad := range []Page{{Sort: "colour"}, {Limit: -1}, {Offset: -1}} {
		_, _, err := Cut(all, func(*Shared[*v1alpha1.Application]) bool { return true }, bad, columns)
		if code, message := fault.Of(err); code != fault.InvalidArgument || !strings.Contains(message, "parameter") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestOrdersAreThoseOfTheirSnapshot(t *testing.T) {
	t.Parallel()
	x := NewIndex[*v1alpha1.Application]()
	columns := Columns[*v1alpha1.Application]{Sort: map[string]func(*v1alpha1.Application) string{"project": func(a *v1alpha1.Application) string { return a.Spec.Project }}}
	everything := func(*Shared[*v1alpha1.Application]) bool { return true }
	put := func(name, project string, version int) {
		a := app(name, version)
		a.Spec.Project = project
		x.Put(a)
	}
	sorted := func(all Snapshot[*v1alpha1.Application]) string {
		items, _, err := Cut(all, everything, Page{Sort: "project"}, columns)
		if err != nil {
			t.Fatal(err)
		}
		return namesOf(items)
	}
	put("a", "z", 1)
	put("b", "y", 2)
	before := x.Snapshot()
	if got := sorted(before); got != "b a" {
		t.Errorf("got %s", got)
	}
	put("a", "x", 3)
	if got := sorted(x.Snapshot()); got != "a b" {
		t.Errorf("after a change: %s", got)
	}
	if got := sorted(before); got != "b a" {
		t.Errorf("a snapshot changed its order: %s", got)
	}
}

func TestSearchFindsTheNewestTexts(t *testing.T) {
	t.Parallel()
	x := NewIndex[*v1alpha1.Application]()
	columns := Columns[*v1alpha1.Application]{Texts: func(a *v1alpha1.Application) []string { return []string{a.Name, a.Labels["team"]} }}
	for version, team := range []string{"Red", "Blue"} {
		a := app("one", version+1)
		a.Labels = map[string]string{"team": team}
		x.Put(a)
		for _, search := range []string{"red", "BLUE", "ONE", "oneblue"} {
			_, total, err := Cut(x.Snapshot(), func(*Shared[*v1alpha1.Application]) bool { return true }, Page{Search: search}, columns)
			if want := strings.EqualFold(search, team) || search == "ONE"; err != nil || (total == 1) != want {
				t.Errorf("team %s, search %s: %d found, %v", team, search, total, err)
			}
		}
	}
}

func TestAnObjectThatIsMadeAnewIsAnother(t *testing.T) {
	t.Parallel()
	x := NewIndex[*v1alpha1.Application]()
	x.Put(app("a", 1))
	first := x.Snapshot().Items[0].ID
	w := x.Watch(func(*v1alpha1.Application) bool { return true }, false)
	defer w.Stop()
	x.Put(app("a", 2))
	x.Remove(app("a", 2))
	x.Put(app("a", 4))
	changes, err := w.Next(t.Context())
	if err != nil || len(changes) != 2 {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	if gone, anew := changes[0], changes[1]; gone.Kind != "DELETED" || gone.Value.ID != first || anew.Kind != "ADDED" || anew.Value.ID == first {
		t.Errorf("%s of %d, %s of %d, the first was %d", gone.Kind, gone.Value.ID, anew.Kind, anew.Value.ID, first)
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	var m Marks
	for _, id := range []uint64{1, 63, 64, 70_000} {
		if m.Has(id) {
			t.Errorf("%d is marked before it was", id)
		}
		m.Clear(id) // what is not there
		m.Set(id)
	}
	m.Clear(63)
	m.Clear(64)
	for id, want := range map[uint64]bool{1: true, 63: false, 64: false, 70_000: true, 2: false} {
		if m.Has(id) != want {
			t.Errorf("%d: marked is %t", id, !want)
		}
	}
	if len(m.blocks) != 2 {
		t.Errorf("%d blocks are kept, want 2", len(m.blocks))
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	h, err := NewHub("argocd", []string{"team-*", "one", "/x[0-9]/"})
	if err != nil {
		t.Fatal(err)
	}
	var enabled []string
	for _, n := range []string{"argocd", "team-a", "one", "two", "xteam-a", "x1", "x12"} {
		if h.Enabled(n) {
			enabled = append(enabled, n)
		}
	}
	if !slices.Equal(enabled, []string{"argocd", "team-a", "one", "x1"}) {
		t.Errorf("enabled are %v", enabled)
	}
	for want, got := range map[string]string{"p/a": h.Object("p", "", "a"), "p/one/a": h.Object("p", "one", "a"), "default/a": h.Object("", "argocd", "a")} {
		if got != want {
			t.Errorf("object %s, want %s", got, want)
		}
	}
	if _, err := NewHub("argocd", []string{"["}); err == nil {
		t.Error("a broken pattern is taken")
	}
}

func TestShownLeavesOutWhatIsOurs(t *testing.T) {
	t.Parallel()
	in := map[string]string{v1alpha1.LabelSecretType: "cluster", "managed-by": "x", lastApplied: `{"data":{"password":"canary"}}`, "team": "a"}
	if got := Shown(in); len(got) != 1 || got["team"] != "a" || len(in) != 4 {
		t.Errorf("got %v of %v", got, in)
	}
	kept, err := Relabel(in, map[string]string{"team": "b"})
	if err != nil || kept["team"] != "b" || kept[lastApplied] == "" || kept[v1alpha1.LabelSecretType] != "cluster" {
		t.Errorf("got %v, %v", kept, err)
	}
	if _, err := Relabel(in, map[string]string{v1alpha1.LabelSecretType: "repository"}); err == nil {
		t.Error("the type of a Secret can be changed")
	}
}

func TestTrim(t *testing.T) {
	t.Parallel()
	a := app("a", 1)
	a.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
	if _, err := Trim(a); err != nil || a.ManagedFields != nil {
		t.Errorf("%v, %v", a.ManagedFields, err)
	}
}

func TestStatesKnowTheirNamesInPolicies(t *testing.T) {
	t.Parallel()
	hub, err := NewHub("argocd", []string{"team-*"})
	if err != nil {
		t.Fatal(err)
	}
	watch := hub.Apps.Watch(func(*v1alpha1.Application) bool { return true }, false)
	defer watch.Stop()
	for _, step := range []struct {
		namespace, project, want string
	}{{"argocd", "", "default/a"}, {"argocd", "p", "p/a"}, {"team-x", "p", "p/team-x/a"}} {
		a := app("a", 1)
		a.Namespace, a.Spec.Project = step.namespace, step.project
		a.ResourceVersion = strconv.FormatUint(hub.Apps.version+1, 10)
		hub.Apps.Put(a)
		changes, err := watch.Next(t.Context())
		if err != nil || len(changes) != 1 || changes[0].Value.Name != step.want {
			t.Errorf("%+v: told of %+v, %v", step, changes, err)
		}
		found := false
		for _, item := range hub.Apps.Snapshot().Items {
			found = found || item.Name == step.want && item.Object == a
		}
		if !found {
			t.Errorf("%+v: no state has the name", step)
		}
	}
	set := &v1alpha1.ApplicationSet{}
	set.Name, set.Namespace, set.Spec.Template.Spec.Project = "s", "argocd", "p"
	hub.Sets.Put(set)
	if got := hub.Sets.Snapshot().Items[0].Name; got != "p/s" {
		t.Errorf("a set is called %s", got)
	}
}
