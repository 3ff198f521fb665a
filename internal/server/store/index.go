package store

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/internal/server/stream"
)

// Index keeps the objects of one kind. It is safe for concurrent use.
type Index[T client.Object] struct {
	mu     sync.Mutex
	slots  map[types.NamespacedName]*slot[T]
	sorted []*slot[T]
	// unsorted says that sorted lacks or has too much; stale, that snapshot is
	// older than the slots.
	unsorted, stale bool
	snapshot        Snapshot[T]
	version         uint64
	// last is the newest ID that was given away.
	last     uint64
	watchers map[*Watch[T]]struct{}
	// name is what policies call an object; it may be nil.
	name func(T) string
}

type slot[T client.Object] struct {
	key types.NamespacedName
	id  uint64
	// shared carries the object through all streams.
	shared *Shared[T]
}

// Snapshot is all objects of one moment, sorted by name and namespace.
type Snapshot[T client.Object] struct {
	Items []*Shared[T]
	// Version is the newest resource version that was seen.
	Version string

	orders *orders[T]
}

// orders are the items in the orders that were asked for.
type orders[T client.Object] struct {
	mu sync.Mutex
	by map[string][]*Shared[T]
}

// by gives the items sorted by a column, and by name where it is equal; an
// order is made once for all who ask for it.
func (s Snapshot[T]) by(name string, column func(T) string) []*Shared[T] {
	if s.orders == nil {
		return sortedBy(s.Items, column)
	}
	s.orders.mu.Lock()
	defer s.orders.mu.Unlock()
	items, ok := s.orders.by[name]
	if !ok {
		items = sortedBy(s.Items, column)
		s.orders.by[name] = items
	}
	return items
}

func sortedBy[T client.Object](items []*Shared[T], column func(T) string) []*Shared[T] {
	type keyed struct {
		key  string
		item *Shared[T]
	}
	all := make([]keyed, len(items))
	for i, s := range items {
		all[i] = keyed{column(s.Object), s}
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	out := make([]*Shared[T], len(all))
	for i := range all {
		out[i] = all[i].item
	}
	return out
}

// NewIndex makes an empty index.
func NewIndex[T client.Object]() *Index[T] {
	return &Index[T]{slots: map[types.NamespacedName]*slot[T]{}, watchers: map[*Watch[T]]struct{}{}}
}

// Get finds an object.
func (x *Index[T]) Get(key types.NamespacedName) (T, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s, ok := x.slots[key]; ok {
		return s.shared.Object, true
	}
	var none T
	return none, false
}

// Len is the number of objects.
func (x *Index[T]) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.slots)
}

// Snapshot gives all objects; the slice is shared too.
func (x *Index[T]) Snapshot() Snapshot[T] {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.current()
}

func (x *Index[T]) current() Snapshot[T] {
	if x.unsorted {
		x.sorted = x.sorted[:0:0]
		for _, s := range x.slots {
			x.sorted = append(x.sorted, s)
		}
		slices.SortFunc(x.sorted, func(a, b *slot[T]) int {
			return cmp.Or(cmp.Compare(a.key.Name, b.key.Name), cmp.Compare(a.key.Namespace, b.key.Namespace))
		})
		x.unsorted, x.stale = false, true
	}
	if x.stale {
		items := make([]*Shared[T], len(x.sorted))
		for i, s := range x.sorted {
			items[i] = s.shared
		}
		x.snapshot, x.stale = Snapshot[T]{
			Items: items, Version: strconv.FormatUint(x.version, 10), orders: &orders[T]{by: map[string][]*Shared[T]{}},
		}, false
	}
	return x.snapshot
}

// Put takes over an object; one that is older than what is there is ignored.
func (x *Index[T]) Put(obj T) {
	key, version := client.ObjectKeyFromObject(obj), versionOf(obj)
	x.mu.Lock()
	defer x.mu.Unlock()
	s, known := x.slots[key]
	kind := stream.Modified
	switch {
	case !known:
		x.last++
		s, kind = &slot[T]{key: key, id: x.last}, stream.Added
		x.slots[key], x.unsorted = s, true
	case s.shared.Object.GetUID() == obj.GetUID() && versionOf(s.shared.Object) >= version:
		return
	}
	s.shared = &Shared[T]{Object: obj, ID: s.id, Name: x.named(obj)}
	x.version, x.stale = max(x.version, version), true
	x.tell(stream.Change[*Shared[T]]{Kind: kind, Value: s.shared})
}

func (x *Index[T]) named(obj T) string {
	if x.name == nil {
		return ""
	}
	return x.name(obj)
}

// Wrote takes over what this process has just written to the hub; the object
// is cut to what is shown.
func (x *Index[T]) Wrote(obj T) {
	obj.SetManagedFields(nil)
	x.Put(obj)
}

// Remove forgets an object, unless another one of its name came since.
func (x *Index[T]) Remove(obj T) {
	key := client.ObjectKeyFromObject(obj)
	x.mu.Lock()
	defer x.mu.Unlock()
	s, known := x.slots[key]
	if !known || s.shared.Object.GetUID() != obj.GetUID() {
		return
	}
	delete(x.slots, key)
	x.version, x.unsorted = max(x.version, versionOf(obj)), true
	x.tell(stream.Change[*Shared[T]]{Kind: stream.Deleted, Value: &Shared[T]{Object: s.shared.Object, ID: s.id, Name: s.shared.Name}})
}

func versionOf(obj client.Object) uint64 {
	n, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Handler feeds the index from an informer; keep says whether an object
// belongs here.
func (x *Index[T]) Handler(keep func(T) bool) toolscache.ResourceEventHandler {
	put := func(o any) {
		obj, ok := o.(T)
		if !ok || !keep(obj) {
			return
		}
		if len(obj.GetManagedFields()) > 0 { // a cache that others share keeps them
			copied, ok := obj.DeepCopyObject().(T)
			if !ok {
				return
			}
			copied.SetManagedFields(nil)
			obj = copied
		}
		x.Put(obj)
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: put, UpdateFunc: func(_, after any) { put(after) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if obj, ok := o.(T); ok {
				x.Remove(obj)
			}
		},
	}
}
