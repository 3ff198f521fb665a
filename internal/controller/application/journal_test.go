package application

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// hub holds the journal and knows which Applications there are.
type hub struct {
	client.Client
	mu     sync.Mutex
	stored *corev1.ConfigMap
	apps   map[string]bool
	writes []string
	// arrived tells of a write, which then waits for leave to go on.
	arrived chan struct{}
	leave   chan error
}

func (h *hub) Patch(_ context.Context, _ client.Object, patch client.Patch, _ ...client.PatchOption) error {
	h.arrived <- struct{}{}
	if err := <-h.leave; err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stored == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, v1alpha1.JournalName)
	}
	raw, err := patch.Data(nil)
	if err != nil {
		return err
	}
	var change struct{ Data map[string]string }
	if err := json.Unmarshal(raw, &change); err != nil {
		return err
	}
	h.stored.Data = change.Data
	h.writes = append(h.writes, change.Data[journalKey])
	return nil
}

func (h *hub) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stored = o.(*corev1.ConfigMap)
	h.writes = append(h.writes, h.stored.Data[journalKey])
	return nil
}

func (h *hub) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, config := into.(*corev1.ConfigMap)
	if config && h.stored == nil || !config && !h.apps[key.Name] {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	if config {
		h.stored.DeepCopyInto(m)
	}
	return nil
}

func appKey(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "argocd", Name: name}
}

func begun(id string) entry {
	return entry{UID: "u", ID: id, StartedAt: metav1.NewTime(friday(16)), Operation: v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "abc"}}}
}

// TestBeginsAreStoredTogether: what is noted while a write is on its way goes
// with the next one, nobody goes on before what it noted is stored, and what its
// Application shows leaves.
func TestBeginsAreStoredTogether(t *testing.T) {
	h := &hub{apps: map[string]bool{"b": true, "d": true}, arrived: make(chan struct{}), leave: make(chan error)}
	j := newJournal(h, "argocd", prometheus.NewRegistry())
	add := func(name string) *flight {
		f, err := j.add(t.Context(), appKey(name), begun(name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := add("a")
	<-h.arrived
	second := add("b")
	if third := add("c"); third != second || second == first {
		t.Error("what is noted meanwhile does not go together")
	}
	select {
	case <-first.landed:
		t.Fatal("landed before it was stored")
	default:
	}
	h.leave <- nil
	<-first.landed
	<-h.arrived
	h.leave <- nil
	<-second.landed
	j.drop(appKey("a"))
	j.drop(appKey("c"))
	go func() { <-h.arrived; h.leave <- nil }()
	if err := errors.Join(first.err, second.err, j.note(t.Context(), appKey("d"), begun("d"))); err != nil {
		t.Error(err)
	}
	names := func(text string) (out string) {
		for _, name := range []string{"a", "b", "c", "d"} {
			if strings.Contains(text, "argocd/"+name) {
				out += name
			}
		}
		return out
	}
	var got []string
	for _, w := range h.writes {
		got = append(got, names(w))
	}
	if want := "[a abc bd]"; fmt.Sprint(got) != want {
		t.Errorf("writes have %v, want %s", got, want)
	}
	delete(h.apps, "b")
	other := newJournal(h, "argocd", prometheus.NewRegistry())
	if err := other.read(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if e, ok := other.entry(appKey("d")); !ok || e.ID != "d" || e.Operation.Sync.Revision != "abc" || !e.StartedAt.Time.Equal(friday(16)) {
		t.Errorf("another process reads %+v", e)
	}
	if _, ok := other.entry(appKey("b")); ok || len(other.entries) != 1 {
		t.Errorf("an Application that has gone is kept: %v", other.entries)
	}
}

func TestBeginsThatCannotBeStored(t *testing.T) {
	h := &hub{arrived: make(chan struct{}), leave: make(chan error)}
	j := newJournal(h, "argocd", prometheus.NewRegistry())
	long := begun("long")
	long.Operation.Sync.SyncOptions = []string{strings.Repeat("x", longestEntry)}
	if err := j.note(t.Context(), appKey("a"), long); !errors.Is(err, errNoRoom) {
		t.Errorf("a long one: %v", err)
	}
	full := strings.Repeat("y", longestEntry-400)
	for i := 0; i < longestJournal/longestEntry+200; i++ {
		j.put(appKey(fmt.Sprint(i)), json.RawMessage(full))
	}
	if err := j.note(t.Context(), appKey("a"), begun("a")); !errors.Is(err, errNoRoom) {
		t.Errorf("one too many: %v", err)
	}
	for i := 0; i < longestJournal/longestEntry+200; i++ {
		j.drop(appKey(fmt.Sprint(i)))
	}
	refused := errors.New("refused")
	go func() { <-h.arrived; h.leave <- refused }()
	if err := j.note(t.Context(), appKey("a"), begun("a")); !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	if len(j.entries) != 0 || j.size != 0 {
		t.Errorf("kept %d entries of %d bytes", len(j.entries), j.size)
	}
	h.stored = &corev1.ConfigMap{Data: map[string]string{journalKey: "{"}}
	if err := j.read(t.Context(), h); err == nil || !strings.Contains(err.Error(), "ConfigMap/sluice-journal") {
		t.Errorf("a broken journal: %v", err)
	}
}

// TestAnOperationOfTheJournalIsResumed: after a restart the sync that only the
// journal knows is carried on under its id, unless the Application shows it, a
// later one, or another request.
func TestAnOperationOfTheJournalIsResumed(t *testing.T) {
	later := metav1.NewTime(friday(17))
	for name, c := range map[string]struct {
		change func(*v1alpha1.Application)
		want   bool
	}{
		"as it was noted": {func(*v1alpha1.Application) {}, true},
		"after another operation": {func(a *v1alpha1.Application) {
			a.Status.OperationState = &v1alpha1.OperationState{ID: "before", Phase: v1alpha1.OperationSucceeded, StartedAt: metav1.NewTime(friday(15))}
		}, true},
		"it is shown": {func(a *v1alpha1.Application) {
			a.Status.OperationState = &v1alpha1.OperationState{ID: "op-7", Phase: v1alpha1.OperationSucceeded, StartedAt: metav1.NewTime(friday(16))}
		}, false},
		"a later one is shown": {func(a *v1alpha1.Application) {
			a.Status.OperationState = &v1alpha1.OperationState{ID: "op-8", Phase: v1alpha1.OperationSucceeded, StartedAt: later}
		}, false},
		"somebody asks for a sync": {func(a *v1alpha1.Application) { a.Operation = &v1alpha1.Operation{} }, false},
		"it is deleted":            {func(a *v1alpha1.Application) { a.DeletionTimestamp = &later }, false},
		"another of the name":      {func(a *v1alpha1.Application) { a.UID = "v" }, false},
		"it has other sources":     {func(a *v1alpha1.Application) { a.Spec.Source.Path = "other" }, false},
	} {
		app := windowedPass(friday(18)).app
		app.UID, app.Spec.Source = "u", &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/web", Path: "app", Helm: &v1alpha1.SourceHelm{Values: "password: secret"}}
		running := app.DeepCopy()
		running.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "abc", Source: app.Spec.Source.DeepCopy()}, InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}
		running.Status.OperationState = &v1alpha1.OperationState{ID: "op-7", StartedAt: metav1.NewTime(friday(16))}
		noted, ok, err := newEntry(running)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		c.change(app)
		p := windowedPass(friday(18))
		p.before, p.app, p.key = app, app.DeepCopy(), appKey("web")
		p.journal = newJournal(nil, "argocd", prometheus.NewRegistry())
		raw, err := json.Marshal(noted)
		if err != nil || strings.Contains(string(raw), "secret") {
			t.Fatalf("%s, %v", raw, err)
		}
		p.journal.put(p.key, raw)
		p.goOn()
		state := p.app.Status.OperationState
		resumed := p.app.Operation != nil && state != nil && state.ID == "op-7" && state.Phase == v1alpha1.OperationRunning && state.StartedAt.Time.Equal(friday(16)) &&
			reflect.DeepEqual(*p.app.Operation, *running.Operation) && reflect.DeepEqual(state.Operation, *running.Operation)
		if _, kept := p.journal.entry(p.key); resumed != c.want || kept != c.want {
			t.Errorf("%s: resumed %t, want %t; kept %t", name, resumed, c.want, kept)
		}
	}
}

// TestOperationsWithOtherSourcesAreNotNoted: the journal could not give them back.
func TestOperationsWithOtherSourcesAreNotNoted(t *testing.T) {
	app := syncing()
	app.Spec.Source = &v1alpha1.ApplicationSource{Path: "app"}
	for name, c := range map[string]struct {
		sync v1alpha1.SyncOperation
		want bool
	}{
		"its source":    {v1alpha1.SyncOperation{Source: &v1alpha1.ApplicationSource{Path: "app"}}, true},
		"another":       {v1alpha1.SyncOperation{Source: &v1alpha1.ApplicationSource{Path: "other"}}, false},
		"none is named": {v1alpha1.SyncOperation{}, false},
		"several":       {v1alpha1.SyncOperation{Sources: []v1alpha1.ApplicationSource{{Path: "app"}}}, false},
	} {
		app.Operation.Sync = &c.sync
		if _, ok, err := newEntry(app); ok != c.want || err != nil {
			t.Errorf("%s: noted %t, %v", name, ok, err)
		}
	}
}
