package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Reads are the recorded reads of a render: by question, the id of the answer.
type Reads map[string]string

// missing is the answer for a path that is not there.
const missing = "-"

// Recorder is a tree that notes what is read from it.
type Recorder struct {
	tree.Tree
	mu    sync.Mutex
	reads Reads
}

// NewRecorder notes reads from t.
func NewRecorder(t tree.Tree) *Recorder { return &Recorder{Tree: t, reads: Reads{}} }

// Reads is what has been read so far.
func (r *Recorder) Reads() Reads {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(Reads, len(r.reads))
	for k, v := range r.reads {
		out[k] = v
	}
	return out
}

func (r *Recorder) note(question, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads[question] = answer
}

// ReadFile reads and notes a file.
func (r *Recorder) ReadFile(path string) ([]byte, error) {
	if _, err := r.Stat(path); err != nil {
		return nil, err
	}
	return r.Tree.ReadFile(path)
}

// ReadDir lists a folder and notes the names in it, not their content.
func (r *Recorder) ReadDir(path string) ([]tree.Entry, error) {
	entries, err := r.Tree.ReadDir(path)
	if err == nil {
		r.note("l:"+path, names(entries))
	} else if errors.Is(err, tree.ErrNotExist) {
		r.note("l:"+path, missing)
	}
	return entries, err
}

// Stat describes and notes a path; of a folder only that it is one.
func (r *Recorder) Stat(path string) (tree.Entry, error) {
	e, err := r.Tree.Stat(path)
	switch {
	case err == nil:
		r.note("s:"+path, identify(e))
	case errors.Is(err, tree.ErrNotExist):
		r.note("s:"+path, missing)
	}
	return e, err
}

func identify(e tree.Entry) string {
	if e.Kind == tree.Dir {
		return "dir"
	}
	return e.ID
}

func names(entries []tree.Entry) string {
	sum := sha256.New()
	for _, e := range entries {
		_, _ = fmt.Fprintf(sum, "%d:%s:%d\n", len(e.Name), e.Name, e.Kind)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Unchanged says that t answers all questions as they were answered before.
func (reads Reads) Unchanged(t tree.Tree) bool {
	for question, answer := range reads {
		path := question[2:]
		now := missing
		if question[0] == 'l' {
			entries, err := t.ReadDir(path)
			if err != nil && !errors.Is(err, tree.ErrNotExist) {
				return false
			}
			if err == nil {
				now = names(entries)
			}
		} else {
			e, err := t.Stat(path)
			if err != nil && !errors.Is(err, tree.ErrNotExist) {
				return false
			}
			if err == nil {
				now = identify(e)
			}
		}
		if now != answer {
			return false
		}
	}
	return true
}
