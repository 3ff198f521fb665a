package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/internal/cli/fail"
)

// item names an object for people.
type item struct{ kind, namespace, name string }

func (n item) String() string {
	if n.namespace != "" {
		return fmt.Sprintf("%s %q", n.kind, n.namespace+"/"+n.name)
	}
	return fmt.Sprintf("%s %q", n.kind, n.name)
}

// typed is what clients of one kind have in common.
type typed[T any] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*T, error)
	Create(ctx context.Context, one *T, o metav1.CreateOptions) (*T, error)
	Update(ctx context.Context, one *T, o metav1.UpdateOptions) (*T, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// shape is what an object has to be.
type shape[T any] struct {
	want *T
	// same says that the object that is there does already what is wanted.
	same func(have *T) bool
	// fixed says that the difference cannot be written: the object is made anew.
	fixed func(have *T) bool
}

func different(n item) error {
	return fail.New("look at it, and repeat the command with --upsert to replace it; or have a ServiceAccount of its own made, with --print-profile",
		"%s is on the cluster already and gives other rights than asked for: another hub may live by it", n)
}

// put makes an object what it has to be, and says what it did.
func put[T any](ctx context.Context, i *installer, client typed[T], n item, s shape[T]) error {
	have, err := client.Get(ctx, n.name, metav1.GetOptions{})
	word := "created"
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.Create(ctx, s.want, metav1.CreateOptions{})
	case err != nil:
	case s.same(have):
		word = "already exists"
	case i.keep:
		return different(n)
	case s.fixed != nil && s.fixed(have):
		word = "replaced"
		if err = client.Delete(ctx, n.name, metav1.DeleteOptions{}); err == nil {
			_, err = client.Create(ctx, s.want, metav1.CreateOptions{})
		}
	default:
		word = "updated"
		_, err = client.Update(ctx, s.want, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	i.say(fmt.Sprintf("%s %s", n, word))
	return nil
}

// take removes an object if it is there, and says so.
func take[T any](ctx context.Context, i *installer, client typed[T], n item) error {
	_, err := client.Get(ctx, n.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err == nil && i.keep:
		return different(n)
	case err == nil:
		err = client.Delete(ctx, n.name, metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: %w", n, err)
	}
	i.say(fmt.Sprintf("%s deleted", n))
	return nil
}
