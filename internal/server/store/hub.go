package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gobwas/glob"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

// Hub is what the server knows of its hub.
type Hub struct {
	// Namespace is that of the control plane.
	Namespace string
	Apps      *Index[*v1alpha1.Application]
	Sets      *Index[*v1alpha1.ApplicationSet]
	Projects  *Index[*v1alpha1.AppProject]
	// Secrets and ConfigMaps are those of the control plane.
	Secrets    *Index[*corev1.Secret]
	ConfigMaps *Index[*corev1.ConfigMap]
	// Client writes to the hub and reads past the indexes.
	Client client.Client

	namespaces []glob.Glob
	patterns   []string

	mu        sync.Mutex
	listeners []func()
}

// NewHub makes the indexes for the control plane's namespace; Applications and
// ApplicationSets may also live where the patterns say (--application-namespaces).
func NewHub(namespace string, patterns []string) (*Hub, error) {
	h := &Hub{
		Namespace: namespace, Apps: NewIndex[*v1alpha1.Application](), Sets: NewIndex[*v1alpha1.ApplicationSet](),
		Projects: NewIndex[*v1alpha1.AppProject](), Secrets: NewIndex[*corev1.Secret](), ConfigMaps: NewIndex[*corev1.ConfigMap](),
		patterns: patterns,
	}
	h.Apps.name = func(a *v1alpha1.Application) string { return h.Object(a.Spec.Project, a.Namespace, a.Name) }
	h.Sets.name = func(s *v1alpha1.ApplicationSet) string {
		return h.Object(s.Spec.Template.Spec.Project, s.Namespace, s.Name)
	}
	for _, p := range patterns {
		g, err := glob.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("--application-namespaces: %q is no pattern: %w", p, err)
		}
		h.namespaces = append(h.namespaces, g)
	}
	return h, nil
}

// Enabled says whether Applications may live in a namespace.
func (h *Hub) Enabled(namespace string) bool {
	return namespace == h.Namespace || slices.ContainsFunc(h.namespaces, func(g glob.Glob) bool { return g.Match(namespace) })
}

// Anywhere says that Applications may live outside the control plane.
func (h *Hub) Anywhere() bool { return len(h.namespaces) > 0 }

// App finds an Application; an empty namespace is that of the control plane.
func (h *Hub) App(namespace, name string) (*v1alpha1.Application, bool) {
	return h.Apps.Get(h.key(namespace, name))
}

// Set finds an ApplicationSet.
func (h *Hub) Set(namespace, name string) (*v1alpha1.ApplicationSet, bool) {
	return h.Sets.Get(h.key(namespace, name))
}

// Project finds a project.
func (h *Hub) Project(name string) (*v1alpha1.AppProject, bool) {
	return h.Projects.Get(h.key("", name))
}

// Global finds an AppProject whose rules others take over; nil is none.
func (h *Hub) Global(name string) *v1alpha1.AppProject {
	if p, ok := h.Project(name); ok {
		return p
	}
	return nil
}

// Secret finds a Secret of the control plane.
func (h *Hub) Secret(name string) (*corev1.Secret, bool) { return h.Secrets.Get(h.key("", name)) }

// ConfigMap finds a config map of the control plane.
func (h *Hub) ConfigMap(name string) (*corev1.ConfigMap, bool) {
	return h.ConfigMaps.Get(h.key("", name))
}

// Config is the data of a config map, nil when there is none.
func (h *Hub) Config(name string) map[string]string {
	if m, ok := h.ConfigMap(name); ok {
		return m.Data
	}
	return nil
}

func (h *Hub) key(namespace, name string) types.NamespacedName {
	if namespace == "" {
		namespace = h.Namespace
	}
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// Object names an Application or ApplicationSet in policies: with its namespace
// when that is not the control plane's (spec/rbac.md §3).
func (h *Hub) Object(project, namespace, name string) string {
	if project == "" {
		project = policy.DefaultProject
	}
	if namespace == "" || namespace == h.Namespace {
		return project + "/" + name
	}
	return project + "/" + namespace + "/" + name
}

// OnSettings calls f after a Secret or config map changed; f must not block.
func (h *Hub) OnSettings(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = append(h.listeners, f)
}

func (h *Hub) settingsChanged() {
	h.mu.Lock()
	listeners := h.listeners
	h.mu.Unlock()
	for _, f := range listeners {
		f()
	}
}

// CacheOptions limit a cache of the hub to what the indexes hold, and cut what
// nobody is shown.
func (h *Hub) CacheOptions() cache.Options {
	own := map[string]cache.Config{h.Namespace: {}}
	apps := map[string]cache.Config{h.Namespace: {}}
	for _, p := range h.patterns {
		if strings.ContainsAny(p, "*?[]{}!\\") {
			apps = map[string]cache.Config{cache.AllNamespaces: {}}
			break
		}
		apps[p] = cache.Config{}
	}
	return cache.Options{
		DefaultNamespaces: own, DefaultTransform: Trim,
		ByObject: map[client.Object]cache.ByObject{&v1alpha1.Application{}: {Namespaces: apps}, &v1alpha1.ApplicationSet{}: {Namespaces: apps}},
	}
}

// Trim drops what is never shown: managedFields, which are often as large as the
// object.
func Trim(o any) (any, error) {
	if obj, ok := o.(client.Object); ok && len(obj.GetManagedFields()) > 0 {
		obj.SetManagedFields(nil)
	}
	return o, nil
}

// Watch feeds the indexes from a running cache, and returns when they hold what
// there was.
func (h *Hub) Watch(ctx context.Context, c cache.Cache) error {
	within := func(o client.Object) bool { return o.GetNamespace() == h.Namespace }
	enabled := func(o client.Object) bool { return h.Enabled(o.GetNamespace()) }
	for _, one := range []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{&v1alpha1.Application{}, h.Apps.Handler(func(o *v1alpha1.Application) bool { return enabled(o) })},
		{&v1alpha1.ApplicationSet{}, h.Sets.Handler(func(o *v1alpha1.ApplicationSet) bool { return enabled(o) })},
		{&v1alpha1.AppProject{}, h.Projects.Handler(func(o *v1alpha1.AppProject) bool { return within(o) })},
		{&corev1.Secret{}, both{h.Secrets.Handler(func(o *corev1.Secret) bool { return within(o) }), h.settingsChanged}},
		{&corev1.ConfigMap{}, both{h.ConfigMaps.Handler(func(o *corev1.ConfigMap) bool { return within(o) }), h.settingsChanged}},
	} {
		informer, err := c.GetInformer(ctx, one.object)
		if err != nil {
			return fmt.Errorf("watch %T: %w", one.object, err)
		}
		registration, err := informer.AddEventHandler(one.handler)
		if err != nil {
			return fmt.Errorf("watch %T: %w", one.object, err)
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			return fmt.Errorf("watch %T: %w", one.object, ctx.Err())
		}
	}
	return nil
}

// both calls a function after every event.
type both struct {
	toolscache.ResourceEventHandler
	then func()
}

// OnAdd passes on and calls.
func (b both) OnAdd(obj any, initial bool) { b.ResourceEventHandler.OnAdd(obj, initial); b.then() }

// OnUpdate passes on and calls.
func (b both) OnUpdate(before, after any) { b.ResourceEventHandler.OnUpdate(before, after); b.then() }

// OnDelete passes on and calls.
func (b both) OnDelete(obj any) { b.ResourceEventHandler.OnDelete(obj); b.then() }
