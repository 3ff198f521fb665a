package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
)

// Times and limits of scans: the pause before one, so that Applications have
// said what they manage, the pause between two, and how many objects that have
// an owner one looks at.
const (
	scanDelay  = 15 * time.Second
	scanPause  = 10 * time.Minute
	scanBounds = 100_000
)

// scans looks for kinds worth watching some time after the connection, after
// kinds were learnt anew, and now and then.
func (c *Connection) scans() {
	wait := scanDelay
	for {
		timer := c.fleet.options.Clock.NewTimer(wait)
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return
		case <-c.relearnt:
			timer.Stop()
			wait = scanDelay
			continue
		case <-timer.C():
		}
		wait = scanPause
		if c.State().Status != StatusSuccessful {
			wait = scanDelay
			continue
		}
		found, err := c.Scan(c.ctx)
		if err != nil && c.ctx.Err() == nil {
			c.fleet.options.Log.Warn("scan for kinds incomplete", "cluster", c.cluster.Name, "error", err.Error())
		}
		if len(found) > 0 {
			c.fleet.options.Log.Info("kinds found that belong to Applications", "cluster", c.cluster.Name, "kinds", found)
		}
	}
}

// sighting is an object of a kind that nobody watches.
type sighting struct {
	kind    schema.GroupVersionKind
	uid     types.UID
	owners  []types.UID
	tracked bool
}

// Scan reads, page by page, the metadata of all kinds that are neither watched
// nor left out, and begins to watch those that have an object which an
// Application tracks, or which belongs to what is known here: directly, or by
// others of these objects. It gives the kinds it found, sorted. Kinds that may
// not be listed are passed over.
func (c *Connection) Scan(ctx context.Context) ([]string, error) {
	kinds, err := c.unseen(ctx)
	c.glance(kinds)
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.String()
	}
	return names, err
}

// unseen finds the kinds that a Scan begins to watch.
func (c *Connection) unseen(ctx context.Context) ([]schema.GroupVersionKind, error) {
	lists, err := discovery.ServerPreferredResources(c.discovery)
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	var seen []sighting
	var problems []error
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			gvk := gv.WithKind(r.Kind)
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "watch") || c.fleet.excluded(gvk.GroupKind(), c.cluster.Server) || c.watchesKind(gvk.GroupKind()) {
				continue
			}
			sightings, err := c.sight(ctx, gvk, scanBounds-len(seen))
			seen = append(seen, sightings...)
			if err != nil {
				problems = append(problems, err)
			}
		}
	}
	return worth(seen, c.store.knows), errors.Join(problems...)
}

func (c *Connection) watchesKind(k schema.GroupKind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watches[k] != nil
}

// sight lists the objects of a kind that are tracked or owned.
func (c *Connection) sight(ctx context.Context, gvk schema.GroupVersionKind, most int) ([]sighting, error) {
	m, err := c.mapping(gvk)
	if err != nil {
		return nil, nil // it has gone meanwhile
	}
	bounded, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var out []sighting
	for _, namespace := range c.spaces(m) {
		o := metav1.ListOptions{Limit: surveyPage}
		for {
			list, err := c.metadata.Resource(m.Resource).Namespace(namespace).List(bounded, o)
			if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || meta.IsNoMatchError(err) {
				break
			}
			if err != nil {
				return out, fmt.Errorf("list %s: %w", m.Resource.Resource, err)
			}
			for i := range list.Items {
				if s, ok := c.sighted(gvk, &list.Items[i]); ok && len(out) < most {
					out = append(out, s)
				}
			}
			if o.Continue = list.Continue; o.Continue == "" || len(out) >= most {
				break
			}
		}
	}
	return out, nil
}

// sighted says what the metadata of an object tell.
func (c *Connection) sighted(gvk schema.GroupVersionKind, item *metav1.PartialObjectMetadata) (sighting, bool) {
	s := sighting{kind: gvk, uid: item.UID}
	for _, ref := range item.OwnerReferences {
		s.owners = append(s.owners, ref.UID)
	}
	if len(s.owners) == 0 {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(gvk)
		u.SetNamespace(item.Namespace)
		u.SetName(item.Name)
		u.SetAnnotations(item.Annotations)
		u.SetLabels(item.Labels)
		instance, self := c.store.tracking.Owner(u)
		s.tracked = self && c.store.serves(instance)
	}
	return s, s.tracked || len(s.owners) > 0
}

// worth gives the kinds that have an object which is tracked, or whose owners
// lead to one that is known, sorted.
func worth(seen []sighting, known func(types.UID) bool) []schema.GroupVersionKind {
	in := map[types.UID]bool{}
	kinds := map[schema.GroupVersionKind]bool{}
	for more := true; more; {
		more = false
		for _, s := range seen {
			if in[s.uid] || !s.tracked && !slices.ContainsFunc(s.owners, func(o types.UID) bool { return in[o] || known(o) }) {
				continue
			}
			in[s.uid], kinds[s.kind], more = true, true, true
		}
	}
	out := make([]schema.GroupVersionKind, 0, len(kinds))
	for k := range kinds {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })
	return out
}
