package cluster

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/inspect"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// node is what is kept of one object: all of a managed one, a record of one
// that has an owner, and of any other nothing but that it is there.
type node struct {
	key     object.Key
	uid     types.UID
	owner   types.UID
	version string
	// instance owns the object by its tracking annotation; roots only.
	instance string
	// full is kept for managed objects and those an Application asks for.
	full   *unstructured.Unstructured
	record *inspect.Node
	pod    *object.Pod
	// revision counts the revisions of a Deployment, on its ReplicaSets and on
	// itself; -1 is none.
	revision int
}

// store is the live state of one cluster.
type store struct {
	mu         sync.RWMutex
	byKey      map[object.Key]*node
	byUID      map[types.UID]*node
	children   map[types.UID]map[types.UID]*node
	byInstance map[string]map[object.Key]*node
	// wanted names the Application that has a target with this key; wants are
	// the keys by Application.
	wanted map[object.Key]string
	wants  map[string]map[object.Key]bool
}

func newStore() *store {
	return &store{
		byKey: map[object.Key]*node{}, byUID: map[types.UID]*node{}, children: map[types.UID]map[types.UID]*node{},
		byInstance: map[string]map[object.Key]*node{}, wanted: map[object.Key]string{}, wants: map[string]map[object.Key]bool{},
	}
}

// reduce decides what to keep of an object; wanted says that an Application
// has a target with its key.
func reduce(u *unstructured.Unstructured, wanted bool) *node {
	n := &node{key: object.KeyOf(u), uid: u.GetUID(), version: u.GetResourceVersion(), revision: -1}
	for _, ref := range u.GetOwnerReferences() {
		n.owner = ref.UID
		if ref.Controller != nil && *ref.Controller {
			break
		}
	}
	if n.owner == "" {
		if instance, self := object.Owner(u); self {
			n.instance = instance
		}
	}
	if r, err := strconv.Atoi(u.GetAnnotations()[revisionAnnotation]); err == nil {
		n.revision = r
	}
	if n.key.Group == "" && n.key.Kind == "Pod" {
		p := health.PodOf(u)
		n.pod = &p
	}
	switch {
	case n.instance != "" || wanted:
		n.full = u
	case n.owner != "":
		n.record = record(u)
	}
	return n
}

// record is what is shown of an object that has an owner; scripts do not speak
// of it.
func record(u *unstructured.Unstructured) *inspect.Node {
	r := inspect.Describe(u)
	if v := health.Unscripted(u, nil); v.Known {
		r.Health = &v.Status
	}
	return &r
}

// news is what a stored object changed: before is what was kept of it until
// now, nil when it was not there, instance the one that the object, or the
// root of its owner chain, belongs to.
type news struct {
	instance      string
	before, after *node
}

// put stores an object unless a newer one is there; then changed is false.
func (s *store) put(u *unstructured.Unstructured) (out news, changed bool) {
	key := object.KeyOf(u)
	s.mu.RLock()
	wanted := s.wanted[key] != ""
	s.mu.RUnlock()
	n := reduce(u, wanted)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byKey[n.key]
	if old != nil && old.uid == n.uid && !newer(n.version, old.version) && (old.full != nil || n.full == nil) {
		return news{}, false
	}
	if old != nil {
		s.unlink(old)
	}
	s.link(n)
	return news{s.root(n), old, n}, true
}

// sameRecord says that nothing is new in what a comparison takes from an
// object that nobody manages: its owner, its state as a pod, its revision.
func sameRecord(a, b *node) bool {
	return a != nil && a.uid == b.uid && a.owner == b.owner && a.revision == b.revision && a.full == nil && b.full == nil &&
		(a.pod == nil) == (b.pod == nil) && (a.pod == nil || *a.pod == *b.pod)
}

// newer compares resource versions.
func newer(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX != nil || errY != nil || x > y
}

func (s *store) link(n *node) {
	s.byKey[n.key] = n
	s.byUID[n.uid] = n
	if n.owner != "" {
		if s.children[n.owner] == nil {
			s.children[n.owner] = map[types.UID]*node{}
		}
		s.children[n.owner][n.uid] = n
	}
	if n.instance != "" {
		if s.byInstance[n.instance] == nil {
			s.byInstance[n.instance] = map[object.Key]*node{}
		}
		s.byInstance[n.instance][n.key] = n
	}
}

func (s *store) unlink(n *node) {
	delete(s.byKey, n.key)
	delete(s.byUID, n.uid)
	delete(s.children[n.owner], n.uid)
	if len(s.children[n.owner]) == 0 {
		delete(s.children, n.owner)
	}
	delete(s.byInstance[n.instance], n.key)
	if len(s.byInstance[n.instance]) == 0 {
		delete(s.byInstance, n.instance)
	}
}

// want notes the keys of the targets of an instance; called with the lock held.
func (s *store) want(instance string, targets []*unstructured.Unstructured) {
	before := s.wants[instance]
	now := make(map[object.Key]bool, len(targets))
	for _, t := range targets {
		key := object.KeyOf(t)
		now[key] = true
		s.wanted[key] = instance
	}
	for key := range before {
		if !now[key] && s.wanted[key] == instance {
			delete(s.wanted, key)
		}
	}
	s.wants[instance] = now
	if len(now) == 0 {
		delete(s.wants, instance)
	}
}

// root follows owners up to a managed object.
func (s *store) root(n *node) string {
	for range 8 {
		if n.instance != "" {
			return n.instance
		}
		if who := s.wanted[n.key]; who != "" {
			return who
		}
		owner := s.byUID[n.owner]
		if owner == nil {
			return ""
		}
		n = owner
	}
	return ""
}

// knows says that an object belongs to an Application.
func (s *store) knows(uid types.UID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.byUID[uid]
	return n != nil && s.root(n) != ""
}

// serves says that an instance is an Application of this installation.
func (s *store) serves(instance string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return instance != "" && s.wants[instance] != nil
}

func (s *store) drop(key object.Key, uid types.UID) (instance string, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byKey[key]
	if n == nil || (uid != "" && n.uid != uid) {
		return "", false
	}
	instance = s.root(n)
	s.unlink(n)
	return instance, true
}

// keep removes the objects of a kind, in one namespace or in all (""), that are
// not in the list.
func (s *store) keep(kind schema.GroupKind, namespace string, listed map[object.Key]bool) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var told []string
	for key, n := range s.byKey {
		if key.Group == kind.Group && key.Kind == kind.Kind && (namespace == "" || key.Namespace == namespace) && !listed[key] {
			told = append(told, s.root(n))
			s.unlink(n)
		}
	}
	return told
}

// pods collects the records of pods below an object.
func (s *store) pods(uid types.UID, newest types.UID) []object.Pod {
	var out []object.Pod
	for _, child := range s.children[uid] {
		switch {
		case child.pod != nil:
			out = append(out, *child.pod)
		case child.key.Kind == "ReplicaSet" && newest != "" && child.uid != newest:
		default:
			out = append(out, s.pods(child.uid, "")...)
		}
	}
	return out
}

// below collects the records of all that an object owns, to a bounded depth.
func (s *store) below(uid types.UID, depth int, out []inspect.Node) []inspect.Node {
	if depth == 0 {
		return out
	}
	for _, child := range s.children[uid] {
		switch {
		case child.record != nil:
			out = append(out, *child.record)
		case child.full != nil:
			out = append(out, *record(child.full))
		}
		out = s.below(child.uid, depth-1, out)
	}
	return out
}

// revisionAnnotation counts the revisions of a Deployment, on it and on its
// ReplicaSets.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// newestReplicaSet finds the ReplicaSet of the current revision: pods of
// older ones say nothing about what was deployed last. When the Deployment
// names its revision and no ReplicaSet of it has been seen yet, no UID is it.
func (s *store) newestReplicaSet(n *node) types.UID {
	best, revision := types.UID(""), -1
	for _, child := range s.children[n.uid] {
		if child.key.Kind == "ReplicaSet" && child.revision > revision {
			best, revision = child.uid, child.revision
		}
	}
	if revision >= 0 && n.revision > revision {
		return notSeen
	}
	return best
}

// notSeen is the UID of no object.
const notSeen types.UID = "not seen yet"
