package webhook

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Index finds Applications by what their sources read, whatever the transport.
type Index struct {
	mu     sync.RWMutex
	byRepo map[string]map[types.NamespacedName]*v1alpha1.Application
	keys   map[types.NamespacedName][]string
}

// NewIndex is empty.
func NewIndex() *Index {
	return &Index{byRepo: map[string]map[types.NamespacedName]*v1alpha1.Application{}, keys: map[types.NamespacedName][]string{}}
}

// source is what one source of an Application follows.
type source struct {
	url, chart, revision, tagPrefix, path string
	// dry is the unrendered source of a hydrator.
	dry bool
}

func sources(app *v1alpha1.Application) []source {
	var out []source
	for _, s := range app.Spec.GetSources() {
		out = append(out, source{url: s.RepoURL, chart: s.Chart, revision: s.TargetRevision, tagPrefix: s.TagPrefix, path: s.Path})
	}
	if h := app.Spec.SourceHydrator; h != nil {
		out = append(out, source{url: h.DrySource.RepoURL, revision: h.DrySource.TargetRevision, path: h.DrySource.Path, dry: true})
	}
	return out
}

// ociKey is what URLs of one repository of a registry have in common.
func ociKey(url string) string {
	return "oci:" + strings.TrimRight(strings.TrimPrefix(strings.ToLower(url), "oci://"), "/")
}

func (s source) keys() []string {
	var out []string
	if locator := repo.Locator(s.url); locator != "" && s.chart == "" {
		out = append(out, locator)
	}
	switch {
	case s.chart != "" && (strings.HasPrefix(s.url, "oci://") || !strings.Contains(s.url, "://")):
		out = append(out, ociKey(strings.TrimRight(s.url, "/")+"/"+s.chart))
	case strings.HasPrefix(s.url, "oci://"):
		out = append(out, ociKey(s.url))
	}
	return out
}

// Set takes an Application over; it must not change afterwards.
func (x *Index) Set(app *v1alpha1.Application) {
	key := client.ObjectKeyFromObject(app)
	var keys []string
	for _, s := range sources(app) {
		keys = append(keys, s.keys()...)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(key, keys)
	for _, k := range keys {
		if x.byRepo[k] == nil {
			x.byRepo[k] = map[types.NamespacedName]*v1alpha1.Application{}
		}
		x.byRepo[k][key] = app
	}
	if len(keys) > 0 {
		x.keys[key] = keys
	}
}

// Delete forgets an Application.
func (x *Index) Delete(key types.NamespacedName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(key, nil)
}

func (x *Index) forget(key types.NamespacedName, keep []string) {
	for _, k := range x.keys[key] {
		if slices.Contains(keep, k) {
			continue
		}
		if delete(x.byRepo[k], key); len(x.byRepo[k]) == 0 {
			delete(x.byRepo, k)
		}
	}
	delete(x.keys, key)
}

// Follows says whether any Application reads what a push is about.
func (x *Index) Follows(url string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.byRepo[repo.Locator(url)]) > 0
}

// Mark is an Application that an event concerns.
type Mark struct {
	Key types.NamespacedName
	// Hydrate says that the unrendered source may have changed too.
	Hydrate bool
}

// Concerned lists the Applications whose sources a push may have moved, by name.
func (x *Index) Concerned(p Push) []Mark {
	return x.find(repo.Locator(p.URL), func(app *v1alpha1.Application, s source) bool {
		return p.Touches(s.url) && p.Moves(s.revision, s.tagPrefix) && concerned(app.Annotations[v1alpha1.AnnotationGeneratePaths], s.path, p.Files)
	})
}

// Published lists the Applications that may use a new version of an artifact.
func (x *Index) Published(i Image) []Mark {
	key := ociKey(i.URL)
	moved := repo.Push{Ref: "refs/tags/" + i.Tag}
	return x.find(key, func(_ *v1alpha1.Application, s source) bool {
		return slices.Contains(s.keys(), key) && (s.revision == "" || moved.Moves(s.revision, s.tagPrefix))
	})
}

func (x *Index) find(key string, hit func(*v1alpha1.Application, source) bool) []Mark {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []Mark
	for name, app := range x.byRepo[key] {
		m, found := Mark{Key: name}, false
		for _, s := range sources(app) {
			if hit(app, s) {
				found, m.Hydrate = true, m.Hydrate || s.dry
			}
		}
		if found {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b Mark) int {
		return cmp.Or(cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Name, b.Key.Name))
	})
	return out
}
