package application

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
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
	c := &Controller{written: map[types.NamespacedName]*v1alpha1.Application{key: ended}}
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
