package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"
	"weak"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/adapter/render"
)

// everything is all facts a render can use.
const everything = ^render.Inputs(0)

// facts are what a render may use besides its sources and what it reads.
type facts struct {
	*Query
	target, revision string
}

// naming is a list of texts that becomes a name; no two lists of texts look
// the same.
type naming []byte

func (n naming) put(texts ...string) naming {
	for _, t := range texts {
		n = append(binary.BigEndian.AppendUint64(n, uint64(len(t))), t...)
	}
	return n
}

func (n naming) name() string {
	sum := sha256.Sum256(n)
	return hex.EncodeToString(sum[:])
}

// digest names the facts that are used.
func (f facts) digest(used render.Inputs) string {
	if used == 0 {
		return ""
	}
	n := make(naming, 0, 512)
	note := func(one render.Inputs, values ...string) {
		if used&one != 0 {
			n = naming(binary.BigEndian.AppendUint64(n, uint64(one))).put(values...)
		}
	}
	note(render.UsesName, f.App.Name)
	note(render.UsesInstance, f.App.Instance)
	note(render.UsesNamespace, f.App.Namespace)
	note(render.UsesProject, f.App.Project)
	note(render.UsesRevision, f.revision)
	note(render.UsesTargetRevision, f.target)
	if used&render.UsesCluster != 0 {
		note(render.UsesCluster, append([]string{f.KubeVersion}, f.APIVersions...)...)
	}
	return n.name()
}

// result is one rendered source, or why it could not be rendered.
type result struct {
	kind, digest string
	// content is the objects as a JSON list.
	content []byte
	used    render.Inputs
	// reads by tree, in the order of the sources, and reads from elsewhere.
	reads  []render.Reads
	remote render.RemoteReads
	// unstable says that the same inputs were seen to give something else.
	unstable bool

	err      error
	revision string    // of a failure: it counts for this one only
	until    time.Time // of a failure: when it is tried again
	failures int       // in a row

	mu      sync.Mutex
	anchors []anchor // trees for which the reads hold
	decoded weak.Pointer[[]*unstructured.Unstructured]
}

// objects decodes the content; all who hold them at a time share them.
func (r *result) objects() (*[]*unstructured.Unstructured, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.decoded.Value(); known != nil {
		return known, nil
	}
	objects, err := render.DecodeObjects(r.content)
	if err != nil {
		return nil, err
	}
	r.decoded = weak.Make(&objects)
	return &objects, nil
}

// size is an estimate of the memory that r takes.
func (r *result) size() int {
	n := len(r.content) + 500
	for _, reads := range r.reads {
		n += 150 * len(reads)
	}
	return n + 300*len(r.remote)
}

// differs says that two results of the same facts come from the same inputs
// and are not the same.
func (r *result) differs(before stored) bool {
	return before.Digest != r.digest && before.Used == r.used && maps.Equal(before.Remote, r.remote) &&
		slices.EqualFunc(before.Reads, r.reads, func(a, b render.Reads) bool { return maps.Equal(a, b) })
}

// stored is r as a store keeps it, under the name of its facts.
func (r *result) stored(name string) stored {
	return stored{Name: name, Kind: r.kind, Digest: r.digest, Used: r.used, Reads: r.reads, Remote: r.remote, Unstable: r.unstable}
}

// valid says that the trees, and everything else that was read, answer as they
// did when r was rendered.
func (r *result) valid(ctx context.Context, s *Service, w *work) bool {
	r.mu.Lock()
	anchors := r.anchors
	r.mu.Unlock()
	moved := false
	for i, reads := range r.reads {
		if len(reads) == 0 {
			continue
		}
		if i >= len(w.anchors) || w.anchors[i].tree == nil {
			return false
		}
		now := w.anchors[i]
		if i < len(anchors) && anchors[i].tree != nil {
			if anchors[i].root == now.root && now.root != "" {
				continue
			}
			moved = true
			if changes, err := s.differences.between(anchors[i], now); err == nil {
				if !reads.UnchangedBy(now.tree, changes) {
					return false
				}
				continue
			}
		}
		moved = true
		if !reads.Unchanged(now.tree) {
			return false
		}
	}
	if len(r.remote) > 0 && !r.remote.Unchanged(ctx, w.outside) {
		return false
	}
	if moved {
		r.mu.Lock()
		r.anchors = w.anchors
		r.mu.Unlock()
	}
	return true
}
