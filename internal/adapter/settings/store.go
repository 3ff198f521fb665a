package settings

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Store keeps the newest Snapshot of one namespace of the hub.
type Store struct {
	cache     cache.Cache
	namespace string
	log       *slog.Logger
	current   atomic.Pointer[Snapshot]

	mu        sync.Mutex
	listeners []func(*Snapshot)
	dirty     chan struct{}
}

// NewStore reads settings of namespace from a cache of the hub.
func NewStore(c cache.Cache, namespace string, log *slog.Logger) *Store {
	s := &Store{cache: c, namespace: namespace, log: log, dirty: make(chan struct{}, 1)}
	s.current.Store(Parse(nil, nil))
	return s
}

// Snapshot is the newest state.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }

// Repository gives what the newest Snapshot knows about a repository.
func (s *Store) Repository(url, project string) repo.Repository {
	return s.Snapshot().Repository(url, project)
}

// RepositoryByName gives what is declared under a name for a project.
func (s *Store) RepositoryByName(name, project string) (repo.Repository, bool) {
	return s.Snapshot().RepositoryByName(name, project)
}

// RepositoryPace is that of the newest Snapshot; what cannot be read there is
// logged when the Snapshot is made.
func (s *Store) RepositoryPace(fallback time.Duration) (every, jitter time.Duration) {
	every, jitter, _ = s.Snapshot().RepositoryPace(fallback)
	return every, jitter
}

// OnChange calls f with every new Snapshot, in order, from one goroutine.
// Listeners are added before Run.
func (s *Store) OnChange(f func(*Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, f)
}

// Load registers the watches and reads the first Snapshot; the cache must be
// running. After it returns, Snapshot answers with what was declared.
func (s *Store) Load(ctx context.Context) error {
	for _, obj := range []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}} {
		informer, err := s.cache.GetInformer(ctx, obj)
		if err != nil {
			return fmt.Errorf("watch settings in namespace %s: %w", s.namespace, err)
		}
		if _, err := informer.AddEventHandler(s.handler()); err != nil {
			return fmt.Errorf("watch settings in namespace %s: %w", s.namespace, err)
		}
	}
	return s.rebuild(ctx)
}

// Run rebuilds the Snapshot when something changed, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.dirty:
			if err := s.rebuild(ctx); err != nil {
				s.log.Error("settings not read", "namespace", s.namespace, "error", err)
			}
		}
	}
}

func (s *Store) handler() toolscache.ResourceEventHandler {
	mark := func(o any) {
		if m, ok := o.(*corev1.ConfigMap); ok && m.Name == v1alpha1.JournalName {
			return // no setting, and written with every sync
		}
		select {
		case s.dirty <- struct{}{}:
		default:
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    mark,
		DeleteFunc: mark,
		UpdateFunc: func(before, after any) {
			a, okA := before.(client.Object)
			b, okB := after.(client.Object)
			if okA && okB && a.GetResourceVersion() == b.GetResourceVersion() {
				return
			}
			mark(after)
		},
	}
}

func (s *Store) rebuild(ctx context.Context) error {
	var secrets corev1.SecretList
	selector := client.HasLabels{v1alpha1.LabelSecretType}
	if err := s.cache.List(ctx, &secrets, client.InNamespace(s.namespace), selector); err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	var maps corev1.ConfigMapList
	everything := client.MatchingLabelsSelector{Selector: labels.Everything()}
	if err := s.cache.List(ctx, &maps, client.InNamespace(s.namespace), everything); err != nil {
		return fmt.Errorf("list config maps: %w", err)
	}
	next := Parse(pointers(secrets.Items), pointers(maps.Items))
	for _, p := range next.Problems {
		s.log.Warn("declaration not usable", "object", p.Object, "message", p.Message)
	}
	if _, _, err := next.RepositoryPace(0); err != nil {
		s.log.Warn("setting not usable", "error", err.Error())
	}
	s.current.Store(next)
	s.mu.Lock()
	listeners := s.listeners
	s.mu.Unlock()
	for _, f := range listeners {
		f(next)
	}
	return nil
}

func pointers[T any](in []T) []*T {
	out := make([]*T, len(in))
	for i := range in {
		out[i] = &in[i]
	}
	return out
}
