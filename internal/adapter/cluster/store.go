package cluster

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// node is what is kept of one object.
type node struct {
	key   object.Key
	uid   types.UID
	owner types.UID
	// instance owns the object by its tracking annotation; roots only.
	instance string
	// full is kept for managed objects and those an Application asks for.
	full *unstructured.Unstructured
	pod  *object.Pod
}

// store is the live state of one cluster.
type store struct {
	mu         sync.RWMutex
	byKey      map[object.Key]*node
	byUID      map[types.UID]*node
	children   map[types.UID]map[types.UID]*node
	byInstance map[string]map[object.Key]*node
	// wanted counts the Applications that have a target with this key.
	wanted map[object.Key]string
}

func newStore() *store {
	return &store{
		byKey: map[object.Key]*node{}, byUID: map[types.UID]*node{}, children: map[types.UID]map[types.UID]*node{},
		byInstance: map[string]map[object.Key]*node{}, wanted: map[object.Key]string{},
	}
}

// reduce decides what to keep of an object.
func reduce(u *unstructured.Unstructured) *node {
	n := &node{key: object.KeyOf(u), uid: u.GetUID()}
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
	if n.key.Group == "" && n.key.Kind == "Pod" {
		p := health.PodOf(u)
		n.pod = &p
	}
	n.full = u
	return n
}

// put stores an object unless a newer one is there; it names the instance
// that the object, or the root of its owner chain, belongs to.
func (s *store) put(u *unstructured.Unstructured) (instance string, changed bool) {
	n := reduce(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byKey[n.key]
	if old != nil && old.uid == n.uid && old.full != nil && !newer(u, old.full) {
		return "", false
	}
	if old != nil {
		s.unlink(old)
	}
	s.link(n)
	return s.root(n), true
}

func newer(a, b *unstructured.Unstructured) bool {
	x, errX := strconv.ParseUint(a.GetResourceVersion(), 10, 64)
	y, errY := strconv.ParseUint(b.GetResourceVersion(), 10, 64)
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

// revisionAnnotation counts the revisions of a Deployment, on it and on its
// ReplicaSets.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// newestReplicaSet finds the ReplicaSet of the current revision: pods of
// older ones say nothing about what was deployed last. When the Deployment
// names its revision and no ReplicaSet of it has been seen yet, no UID is it.
func (s *store) newestReplicaSet(n *node) types.UID {
	best, revision := types.UID(""), -1
	for _, child := range s.children[n.uid] {
		if child.key.Kind != "ReplicaSet" || child.full == nil {
			continue
		}
		r, err := strconv.Atoi(child.full.GetAnnotations()[revisionAnnotation])
		if err == nil && r > revision {
			best, revision = child.uid, r
		}
	}
	if n.full == nil || revision < 0 {
		return best
	}
	if current, err := strconv.Atoi(n.full.GetAnnotations()[revisionAnnotation]); err == nil && current > revision {
		return notSeen
	}
	return best
}

// notSeen is the UID of no object.
const notSeen types.UID = "not seen yet"
