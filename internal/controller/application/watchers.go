package application

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// watchers are told when what is known of an Application changes.
type watchers struct {
	mu   sync.RWMutex
	next int
	by   map[types.NamespacedName]map[int]func()
}

func newWatchers() *watchers { return &watchers{by: map[types.NamespacedName]map[int]func(){}} }

func (w *watchers) add(key types.NamespacedName, notify func()) (cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := w.next
	w.next++
	if w.by[key] == nil {
		w.by[key] = map[int]func(){}
	}
	w.by[key][id] = notify
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.by[key], id); len(w.by[key]) == 0 {
			delete(w.by, key)
		}
	}
}

// tell calls those who watch an Application.
func (w *watchers) tell(key types.NamespacedName) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, notify := range w.by[key] {
		notify()
	}
}
