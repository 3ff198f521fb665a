package generate

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Reconcile is what a worker does with one set.
func (c *Controller) Reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	return c.reconcile(ctx, key)
}

// Finder evaluates expressions for tests.
var Finder = finder
