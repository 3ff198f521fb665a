package identity

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/reference"
)

// Names of Secrets beside argocd-secret.
const (
	LedgerName       = "sluice-sessions"
	InitialAdminName = "argocd-initial-admin-secret"
)

// partOf marks the objects of an installation.
const partOf = "app.kubernetes.io/part-of"

// Hub reads the newest objects of the control plane's namespace; nobody changes
// what it gives.
type Hub interface {
	Secret(name string) (*corev1.Secret, bool)
	ConfigMap(name string) (*corev1.ConfigMap, bool)
	Project(name string) (*v1alpha1.AppProject, bool)
}

// Secrets changes Secrets of the control plane's namespace.
type Secrets interface {
	// Mutate changes the data of a Secret, which is made when it does not exist.
	// change may be called several times, each time with what is newest.
	Mutate(ctx context.Context, name string, change func(data map[string][]byte) error) (*corev1.Secret, error)
}

// Projects changes AppProjects of the control plane's namespace.
type Projects interface {
	// MutateProject changes a project; change may be called several times, each
	// time with what is newest. A project that does not exist is
	// account.ErrUnknown.
	MutateProject(ctx context.Context, name string, change func(*v1alpha1.AppProject) error) error
}

// Store is Secrets and Projects on a hub.
type Store struct {
	// Client reads from the API server itself, not from a cache.
	Client    client.Client
	Namespace string
	// Wrote is told of what was written, so that caches need not lag; nil is
	// nobody.
	Wrote func(client.Object)
}

var (
	_ Secrets  = (*Store)(nil)
	_ Projects = (*Store)(nil)
)

// Mutate changes the data of a Secret.
func (s *Store) Mutate(ctx context.Context, name string, change func(data map[string][]byte) error) (*corev1.Secret, error) {
	var out *corev1.Secret
	again := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	err := retry.OnError(retry.DefaultBackoff, again, func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: map[string]string{partOf: "argocd"}}}
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
		absent := apierrors.IsNotFound(err)
		if err != nil && !absent {
			return err
		}
		before := maps.Clone(secret.Data)
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		if err := change(secret.Data); err != nil {
			return err
		}
		out = secret
		switch {
		case absent:
			return s.Client.Create(ctx, secret)
		case maps.EqualFunc(before, secret.Data, func(a, b []byte) bool { return string(a) == string(b) }):
			return nil
		}
		return s.Client.Update(ctx, secret)
	})
	if err != nil {
		return nil, fmt.Errorf("change Secret %s/%s: %w", s.Namespace, name, err)
	}
	if s.Wrote != nil {
		s.Wrote(out)
	}
	return out, nil
}

// MutateProject changes a project; fields that this program does not know stay.
func (s *Store) MutateProject(ctx context.Context, name string, change func(*v1alpha1.AppProject) error) error {
	project := &v1alpha1.AppProject{}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		project = &v1alpha1.AppProject{}
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, project)
		if apierrors.IsNotFound(err) {
			return account.ErrUnknown
		}
		if err != nil {
			return err
		}
		before := project.DeepCopy()
		if err := change(project); err != nil {
			return err
		}
		return s.Client.Patch(ctx, project, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
	if err != nil {
		return fmt.Errorf("change AppProject %s/%s: %w", s.Namespace, name, err)
	}
	if s.Wrote != nil {
		s.Wrote(project)
	}
	return nil
}

// Lookup resolves references of settings in Secrets of the hub.
func Lookup(hub Hub) reference.Lookup {
	return func(name, key string) (string, bool) {
		other := name != ""
		if !other {
			name = SecretName
		}
		secret, ok := hub.Secret(name)
		if !ok || (other && secret.Labels[partOf] != "argocd") {
			return "", false
		}
		value, ok := secret.Data[key]
		return string(value), ok
	}
}
