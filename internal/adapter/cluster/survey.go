package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/sluice-cd/sluice/internal/domain/object"
)

// survey is what was found in a namespace, and when.
type survey struct {
	at    time.Time
	found []object.Key
}

// Limits of a survey: how long its outcome is good, how many lists run at
// once, how many objects one page has.
const (
	surveyPause  = 10 * time.Second
	surveyAtOnce = 4
	surveyPage   = 500
)

// surveys remembers the outcomes of one connection.
type surveys struct {
	mu   sync.Mutex
	last map[string]survey
}

// Survey lists, of all kinds that are not excluded, the objects of a namespace
// that have no owner and that no Application tracks or wants, sorted. Kinds
// that may not be listed are left out. Outcomes are remembered for some
// seconds.
func (c *Connection) Survey(ctx context.Context, namespace string, excluded func(schema.GroupKind) bool) ([]object.Key, error) {
	now := c.fleet.options.Clock.Now()
	c.surveys.mu.Lock()
	defer c.surveys.mu.Unlock() // one at a time: they are rare and large
	if s, ok := c.surveys.last[namespace]; ok && now.Sub(s.at) < surveyPause {
		return c.unwanted(s.found), nil
	}
	lists, err := discovery.ServerPreferredNamespacedResources(c.discovery)
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	var guard sync.Mutex
	var found []object.Key
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(surveyAtOnce)
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			if !slices.Contains(r.Verbs, "list") || excluded(schema.GroupKind{Group: gv.Group, Kind: r.Kind}) || shadow(gv.Group, r.Kind) {
				continue
			}
			group.Go(func() error {
				keys, err := c.ownerless(gctx, gv.WithResource(r.Name), gv.WithKind(r.Kind), namespace)
				guard.Lock()
				defer guard.Unlock()
				found = append(found, keys...)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b object.Key) int { return strings.Compare(a.String(), b.String()) })
	if c.surveys.last == nil {
		c.surveys.last = map[string]survey{}
	}
	c.surveys.last[namespace] = survey{now, found}
	return c.unwanted(found), nil
}

// shadow says that a kind only mirrors others.
func shadow(group, kind string) bool {
	return group == "" && kind == "Endpoints" || group == "discovery.k8s.io" || group == "metrics.k8s.io"
}

// ownerless lists the objects of one kind that nobody owns or tracks.
func (c *Connection) ownerless(ctx context.Context, gvr schema.GroupVersionResource, gvk schema.GroupVersionKind, namespace string) ([]object.Key, error) {
	bounded, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var out []object.Key
	o := metav1.ListOptions{Limit: surveyPage}
	for {
		list, err := c.metadata.Resource(gvr).Namespace(namespace).List(bounded, o)
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || meta.IsNoMatchError(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", gvr.Resource, err)
		}
		for i := range list.Items {
			item := &list.Items[i]
			u := &unstructured.Unstructured{}
			u.SetGroupVersionKind(gvk)
			u.SetNamespace(namespace)
			u.SetName(item.Name)
			u.SetAnnotations(item.Annotations)
			u.SetLabels(item.Labels)
			if _, tracked := c.store.tracking.Owner(u); !tracked && len(item.OwnerReferences) == 0 {
				out = append(out, object.KeyOf(u))
			}
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return out, nil
		}
	}
}

// unwanted leaves out what an Application has in Git.
func (c *Connection) unwanted(keys []object.Key) []object.Key {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(keys), func(k object.Key) bool { return c.store.wanted[k] != "" })
}
