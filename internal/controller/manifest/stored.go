package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/sluice-cd/sluice/internal/adapter/render"
)

// storeTimeout bounds an access to disk and Redis, which are never waited for
// longer than a render would take.
const storeTimeout = 2 * time.Second

// maxStored is how many results of one key are stored.
const maxStored = 12

// stored is a result in a store, without its objects: those are kept under
// their digest, so that results that are the same are kept once.
type stored struct {
	Name   string             `json:"name"`
	Kind   string             `json:"kind"`
	Digest string             `json:"digest"`
	Used   render.Inputs      `json:"used"`
	Reads  []render.Reads     `json:"reads"`
	Remote render.RemoteReads `json:"remote,omitempty"`
	// Unstable says that the same inputs were seen to give something else.
	Unstable bool `json:"unstable,omitempty"`
}

// load finds a result in the store that is valid, and takes it into memory.
// What it finds damaged it passes over.
func (s *Service) load(ctx context.Context, w *work) (*result, bool) {
	if s.options.Store == nil || s.cache.knows(w.key) {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, one := range s.index(ctx, w.key) {
		if one.Name != w.facts.digest(one.Used) {
			continue
		}
		r := &result{kind: one.Kind, digest: one.Digest, used: one.Used, reads: one.Reads, remote: one.Remote}
		if !r.valid(ctx, s, w) {
			continue
		}
		r, ok := s.restore(ctx, one)
		if !ok {
			continue
		}
		r.anchors = w.anchors
		s.cache.add(w.key, one.Name, r)
		return r, true
	}
	return nil, false
}

func (s *Service) index(ctx context.Context, key string) []stored {
	raw, ok := s.options.Store.Get(ctx, "results/"+key)
	if !ok {
		return nil
	}
	var all []stored
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil // written by another version
	}
	return all
}

// save puts a result in front of those that the store has for its key.
func (s *Service) save(ctx context.Context, w *work, r *result) {
	if s.options.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	name := w.facts.digest(r.used)
	known := s.index(ctx, w.key)
	for _, old := range known {
		r.unstable = r.unstable || old.Name == name && r.differs(old)
	}
	all := []stored{r.stored(name)}
	for _, old := range known {
		if (old.Name != name || old.Digest != r.digest) && len(all) < maxStored {
			all = append(all, old)
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		s.options.Log.Warn("result not stored", "error", err.Error())
		return
	}
	s.options.Store.Put(ctx, "objects/"+r.digest, r.content)
	s.options.Store.Put(ctx, "results/"+w.key, raw)
}

func contentDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
