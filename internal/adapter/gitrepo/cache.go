package gitrepo

import (
	"container/list"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// folderKey names a folder's content in one mirror. Mirrors share no entries:
// knowing an id must not be enough to read what it stands for.
type folderKey struct{ mirror, id string }

type folder struct {
	key     folderKey
	entries []tree.Entry // in name order
	bytes   int
}

// folders remembers parsed folders of all mirrors, newest first, up to a
// number of bytes. An object never changes, so an entry is never stale.
type folders struct {
	limit int
	mu    sync.Mutex
	byKey map[folderKey]*list.Element
	order *list.List
	bytes int
}

func newFolders(limit int) *folders {
	return &folders{limit: limit, byKey: map[folderKey]*list.Element{}, order: list.New()}
}

func (f *folders) find(k folderKey) ([]tree.Entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.byKey[k]
	if !ok {
		return nil, false
	}
	f.order.MoveToFront(at)
	return at.Value.(*folder).entries, true
}

func (f *folders) add(k folderKey, entries []tree.Entry) {
	size := 128
	for _, e := range entries {
		size += len(e.Name) + len(e.ID) + 64
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.byKey[k]; ok || size > f.limit {
		return
	}
	f.byKey[k] = f.order.PushFront(&folder{key: k, entries: entries, bytes: size})
	f.bytes += size
	for f.bytes > f.limit {
		last := f.order.Remove(f.order.Back()).(*folder)
		delete(f.byKey, last.key)
		f.bytes -= last.bytes
	}
}

// clear empties the memory.
func (f *folders) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.byKey)
	f.order.Init()
	f.bytes = 0
}
