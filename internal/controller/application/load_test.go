package application

import (
	"context"
	"errors"
	"strconv"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
)

// slowCache answers with an old version; what the hub has by now arrives before
// the reader goes on.
type slowCache struct {
	cache.Cache
	old     *v1alpha1.Application
	arrives func()
}

func (s slowCache) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.old.DeepCopyInto(into.(*v1alpha1.Application))
	s.arrives()
	return nil
}

// TestAnEndedOperationIsNotLoadedAgain: the cache catches up while it is read.
// The pass must not go on from a version in which the operation still runs.
func TestAnEndedOperationIsNotLoadedAgain(t *testing.T) {
	key := types.NamespacedName{Namespace: "argocd", Name: "guestbook"}
	stored := func(version string, op *v1alpha1.Operation) *v1alpha1.Application {
		return &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "u", ResourceVersion: version}, Operation: op}
	}
	running, ended := stored("7", &v1alpha1.Operation{}), stored("8", nil)
	c := &Controller{written: map[types.NamespacedName]*v1alpha1.Application{key: ended}, arrivals: newWatchers()}
	c.Cache = slowCache{old: running, arrives: func() { c.caughtUp(ended) }}
	app, err := c.load(t.Context(), key)
	if err != nil || app.ResourceVersion != "8" || app.Operation != nil {
		t.Errorf("loaded version %s with operation %v, %v; want version 8 without", app.ResourceVersion, app.Operation, err)
	}
	c.Cache = slowCache{old: ended, arrives: func() {}}
	if app, err = c.load(t.Context(), key); err != nil || app.ResourceVersion != "8" || len(c.written) != 0 {
		t.Errorf("then version %s, %v, kept %d", app.ResourceVersion, err, len(c.written))
	}
}

// movingCache has what has arrived so far.
type movingCache struct {
	cache.Cache
	has     *v1alpha1.Application
	arrives func()
}

func (m *movingCache) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	defer m.arrives()
	if m.has == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "applications"}, key.Name)
	}
	m.has.DeepCopyInto(into.(*v1alpha1.Application))
	return nil
}

// TestAnswersAreNotFromBefore: whoever asks may have seen more of the hub than
// this process has by then.
func TestAnswersAreNotFromBefore(t *testing.T) {
	key := types.NamespacedName{Namespace: "argocd", Name: "guestbook"}
	c := &Controller{arrivals: newWatchers()}
	moving := &movingCache{}
	c.Cache = moving
	asked := 0
	moving.arrives = func() { // created, changed, changed again
		asked++
		moving.has = &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, ResourceVersion: strconv.Itoa(asked)}}
		c.caughtUp(moving.has)
	}
	app, err := c.since(t.Context(), inspect.Seen{NamespacedName: key, ResourceVersion: "3"})
	if err != nil || app.ResourceVersion != "3" || asked != 4 {
		t.Errorf("version %s after %d looks, %v; want 3 after 4", app.ResourceVersion, asked, err)
	}
	moving.arrives = func() {}
	if app, err = c.since(t.Context(), inspect.Seen{NamespacedName: key}); err != nil || app.ResourceVersion != "4" {
		t.Errorf("any version: %s, %v", app.ResourceVersion, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	moving.arrives = cancel
	if _, err = c.since(ctx, inspect.Seen{NamespacedName: key, ResourceVersion: "9"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a question that is given up: %v", err)
	}
	moving.has = nil
	if _, err = c.since(t.Context(), inspect.Seen{NamespacedName: key}); !apierrors.IsNotFound(err) {
		t.Errorf("an Application that is not there: %v", err)
	}
	if len(c.arrivals.by) != 0 {
		t.Errorf("%d still wait", len(c.arrivals.by))
	}
}
