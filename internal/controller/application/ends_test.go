package application

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// shelf stores one Application, as the hub does: a write to a version that is
// not the newest is refused. It remembers each version.
type shelf struct {
	client.Client
	versions []*v1alpha1.Application
	put      chan struct{}
}

func (s *shelf) last() *v1alpha1.Application { return s.versions[len(s.versions)-1].DeepCopy() }

// edit is what somebody else writes.
func (s *shelf) edit(change func(*v1alpha1.Application)) {
	next := s.last()
	change(next)
	s.store(next)
}

func (s *shelf) store(next *v1alpha1.Application) {
	next.ResourceVersion = strconv.Itoa(len(s.versions) + 1)
	s.versions = append(s.versions, next)
}

func (s *shelf) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.last().DeepCopyInto(into.(*v1alpha1.Application))
	return nil
}

func (s *shelf) Patch(_ context.Context, into client.Object, patch client.Patch, _ ...client.PatchOption) error {
	if s.put != nil {
		defer func() { s.put <- struct{}{} }()
	}
	change, err := patch.Data(into)
	if err != nil {
		return err
	}
	var asked v1alpha1.Application
	if err := json.Unmarshal(change, &asked); err != nil {
		return err
	}
	if asked.ResourceVersion != s.last().ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Resource: "applications"}, into.GetName(), nil)
	}
	before, err := json.Marshal(s.last())
	if err != nil {
		return err
	}
	after, err := jsonpatch.MergePatch(before, change)
	if err != nil {
		return err
	}
	var next v1alpha1.Application
	if err := json.Unmarshal(after, &next); err != nil {
		return err
	}
	s.store(&next)
	next.DeepCopyInto(into.(*v1alpha1.Application))
	return nil
}

// at is a controller of which the hub has one Application, app.
func at(app *v1alpha1.Application) (*Controller, *shelf, *clocktesting.FakeClock) {
	clock, s := clocktesting.NewFakeClock(friday(16)), &shelf{}
	s.store(app)
	id := 0
	c := New(Options{
		Client: s, Namespace: "argocd", Clock: clock, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Recorder: record.NewFakeRecorder(100),
		NewID: func() string { id++; return "op-" + strconv.Itoa(id) },
	})
	return c, s, clock
}

// begins is the pass after somebody wrote, up to what it begins.
func begins(c *Controller, s *shelf) *pass {
	p := newPass(c, s.last(), c.Log)
	p.goOn()
	return p
}

// plainSync begins a sync that only the journal knows, and ends it.
func plainSync(t *testing.T, c *Controller, s *shelf) *pass {
	t.Helper()
	p := begins(c, s)
	p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "abc"}, InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}
	p.begin()
	e, _, err := newEntry(p.app)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	p.journal.put(p.key, raw)
	p.keepUnwritten()
	p.app.Status.OperationState.SyncResult = rolled().Status.OperationState.SyncResult
	p.finish(v1alpha1.OperationSucceeded, "done")
	p.app.Status.Sync.Status, p.app.Status.Health.Status = v1alpha1.SyncStatusSynced, v1alpha1.HealthProgressing
	return p
}

func resting() *v1alpha1.Application {
	app := syncing()
	app.Operation, app.Status = nil, v1alpha1.ApplicationStatus{}
	app.Spec.Source = &v1alpha1.ApplicationSource{RepoURL: "https://git.example.com/web", Path: "app"}
	return app
}

// TestAnEndOutlivesWhatPeopleWrite: the end of a sync that was not written yet
// is stored whatever somebody has written meanwhile, and what that asks for is
// done after it.
func TestAnEndOutlivesWhatPeopleWrite(t *testing.T) {
	asked := v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "def"}, InitiatedBy: v1alpha1.OperationInitiator{Username: "ada"}}
	now := metav1.NewTime(friday(17))
	for name, c := range map[string]struct {
		change func(*v1alpha1.Application)
		// awaits says that the end waited for more, otherwise its write met
		// the change; void that there is nothing to be stored.
		awaits, void bool
	}{
		"sources, while it waited":      {change: func(a *v1alpha1.Application) { a.Spec.Source.Path = "other" }, awaits: true},
		"sources, while it was written": {change: func(a *v1alpha1.Application) { a.Spec.Source.Path = "other" }},
		"another sync, while it waited": {change: func(a *v1alpha1.Application) { a.Operation = asked.DeepCopy() }, awaits: true},
		"another sync, in between":      {change: func(a *v1alpha1.Application) { a.Operation = asked.DeepCopy() }},
		"deletion":                      {change: func(a *v1alpha1.Application) { a.DeletionTimestamp = &now }, awaits: true},
		"made anew":                     {change: func(a *v1alpha1.Application) { a.UID = "v" }, awaits: true, void: true},
		"the end itself, whose answer lost": {change: func(a *v1alpha1.Application) {
			a.Status.OperationState = &v1alpha1.OperationState{ID: "op-1", Phase: v1alpha1.OperationSucceeded}
		}, void: true},
	} {
		t.Run(name, func(t *testing.T) {
			hub, s, _ := at(resting())
			p := plainSync(t, hub, s)
			if c.awaits {
				p.ended = true
				if !p.await() {
					t.Fatal("not put off")
				}
			}
			s.edit(c.change)
			if !c.awaits {
				if err := p.patch(t.Context()); !apierrors.IsConflict(err) {
					t.Fatalf("written onto what somebody else wrote: %v", err)
				}
			}
			p = begins(hub, s)
			if p.owes() == c.void || p.hurry == c.void {
				t.Fatalf("owes %t, hurries %t", p.owes(), p.hurry)
			}
			if c.void {
				return
			}
			asks := s.last().Operation
			if asks != nil {
				if err := p.open(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if err := p.save(t.Context()); err != nil {
				t.Fatal(err)
			}
			end := s.versions[2]
			if st := end.Status; st.OperationState == nil || st.OperationState.ID != "op-1" || st.OperationState.Phase != v1alpha1.OperationSucceeded || len(st.History) != 1 {
				t.Errorf("what is stored first: %+v, history %v", st.OperationState, st.History)
			}
			if asks == nil {
				if end.Operation != nil || len(s.versions) != 3 {
					t.Errorf("carried out once more: %v, %d versions", end.Operation, len(s.versions))
				}
				return
			}
			if end.Operation == nil || end.Operation.InitiatedBy.Username != "ada" {
				t.Errorf("what is asked for is gone: %v", end.Operation)
			}
			if begun := s.last(); begun.Status.OperationState.ID != "op-2" || begun.Status.OperationState.Phase != v1alpha1.OperationRunning || len(begun.Status.History) != 1 {
				t.Errorf("then %+v, history %v", begun.Status.OperationState, begun.Status.History)
			}
			if p.owes() {
				t.Error("owes what is stored")
			}
		})
	}
}

// TestASyncThatTakesLongIsShown: what only the journal knows is shown after ten
// seconds, and its end is stored over that.
func TestASyncThatTakesLongIsShown(t *testing.T) {
	c, s, clock := at(resting())
	s.put = make(chan struct{}, 1)
	p := begins(c, s)
	p.app.Operation = &v1alpha1.Operation{Sync: &v1alpha1.SyncOperation{Revision: "abc"}, InitiatedBy: v1alpha1.OperationInitiator{Automated: true}}
	p.begin()
	p.showLater(t.Context())
	clock.Step(showAfter - time.Millisecond)
	p.shown()
	if len(s.versions) != 1 {
		t.Fatal("shown too early")
	}
	p.showLater(t.Context())
	clock.Step(showAfter)
	<-s.put
	if now := s.last(); now.Operation == nil || now.Status.OperationState.Phase != v1alpha1.OperationRunning {
		t.Fatalf("not shown: %+v", now.Status.OperationState)
	}
	p.app.Status.OperationState.SyncResult = rolled().Status.OperationState.SyncResult
	p.finish(v1alpha1.OperationSucceeded, "done")
	if err := p.patch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := s.last(); len(s.versions) != 3 || now.Operation != nil || now.Status.OperationState.ID != "op-1" || now.Status.OperationState.Phase != v1alpha1.OperationSucceeded {
		t.Errorf("its end: %+v", now.Status.OperationState)
	}
	if p.owes() || c.written[types.NamespacedName{Namespace: "argocd", Name: "web"}] == nil {
		t.Error("the end is owed still")
	}
}
