package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Reads are the recorded reads of a render: by question, the id of the
// answer. A question is a letter, a colon and a path.
type Reads map[string]string

// The questions: what is at a path, where does a path lead, and which names
// has a folder: all, those of manifests, those that choose a tool.
const (
	askStat      = "s:"
	askReal      = "r:"
	askNames     = AskNames
	askManifests = AskManifests
	askMarkers   = AskMarkers
	askWhole     = "t:"
	// askEverything marks reads of which the place is not known.
	askEverything = "*:"
)

// The questions of List.
const (
	AskNames     = "l:"
	AskManifests = "m:"
	AskMarkers   = "k:"
)

// Answers that are not an id.
const (
	absent = "-"
	broken = "!" // an error other than being absent, for example a link out of the tree
	isDir  = "dir"
)

// Recorder is a tree that notes what is read from it.
type Recorder struct {
	tree  tree.Tree
	mu    sync.Mutex
	reads Reads
}

var (
	_ tree.Tree  = (*Recorder)(nil)
	_ realPather = (*Recorder)(nil)
	_ lister     = (*Recorder)(nil)
)

// NewRecorder notes reads from t.
func NewRecorder(t tree.Tree) *Recorder { return &Recorder{tree: t, reads: Reads{}} }

// Revision is that of the tree; it is no read, since Result.Used tells.
func (r *Recorder) Revision() string { return r.tree.Revision() }

// Unrecorded is the tree itself, for reading ahead.
func (r *Recorder) Unrecorded() tree.Tree { return r.tree }

// Reads is what has been read so far.
func (r *Recorder) Reads() Reads {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.reads)
}

// note keeps an answer; where links lead elsewhere it is kept for the place,
// too, so that a change there is seen (Reads.UnchangedBy).
func (r *Recorder) note(question, name, answer string) {
	clean := path.Clean(name)
	r.mu.Lock()
	_, known := r.reads[question+clean]
	r.reads[question+clean] = answer
	r.mu.Unlock()
	if known {
		return
	}
	place := r.place(clean)
	if place == clean {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if place == "" {
		r.reads[askEverything] = broken
	} else if question != askReal {
		r.reads[question+place] = answer
	}
}

// place is the path without links, also of a name that is absent; empty when
// it cannot be told.
func (r *Recorder) place(clean string) string {
	for dir, rest := clean, ""; ; dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest) {
		real, err := RealPath(r.tree, dir)
		switch {
		case err == nil:
			return path.Join(path.Clean(real), rest)
		case !errors.Is(err, tree.ErrNotExist) || dir == ".":
			return ""
		}
	}
}

// ReadFile reads a file and notes its id.
func (r *Recorder) ReadFile(name string) ([]byte, error) {
	if _, err := r.Stat(name); err != nil {
		return nil, err
	}
	return r.tree.ReadFile(name)
}

// ReadDir lists a folder and notes the names in it, not their content.
func (r *Recorder) ReadDir(name string) ([]tree.Entry, error) {
	return r.List(name, askNames)
}

func (r *Recorder) List(name, question string) ([]tree.Entry, error) {
	entries, err := List(r.tree, name, question)
	r.note(question, name, answered(digest(entries), err))
	return entries, err
}

// Stat describes and notes a path; of a folder only that it is one.
func (r *Recorder) Stat(name string) (tree.Entry, error) {
	e, err := r.tree.Stat(name)
	r.note(askStat, name, answered(identify(e), err))
	return e, err
}

// Whole notes that everything has been read, as a plugin may.
func (r *Recorder) Whole() { r.Below(".") }

// Below notes that everything at and below a path may have been read.
func (r *Recorder) Below(name string) {
	e, err := r.tree.Stat(name)
	r.note(askWhole, name, answered(e.ID, err))
}

// RealPath follows and notes the links on the way to a path.
func (r *Recorder) RealPath(name string) (string, error) {
	real, err := RealPath(r.tree, name)
	r.note(askReal, name, answered(real, err))
	return real, err
}

func answered(id string, err error) string {
	switch {
	case err == nil:
		return id
	case errors.Is(err, tree.ErrNotExist):
		return absent
	}
	return broken
}

func identify(e tree.Entry) string {
	if e.Kind == tree.Dir {
		return isDir
	}
	return e.ID
}

func digest(entries []tree.Entry) string {
	sum := sha256.New()
	for _, e := range entries {
		_, _ = fmt.Fprintf(sum, "%d:%s:%d\n", len(e.Name), e.Name, e.Kind)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Unchanged says that t answers all questions as they were answered before.
func (reads Reads) Unchanged(t tree.Tree) bool {
	for question, answer := range reads {
		if question[:2] != askEverything && ask(t, question[:2], question[2:]) != answer {
			return false
		}
	}
	return true
}

// UnchangedBy is Unchanged for a tree that differs from one for which the
// answers hold in the changes only.
func (reads Reads) UnchangedBy(t tree.Tree, changes *tree.Changes) bool {
	if _, unknown := reads[askEverything]; unknown || changes.Everything() {
		return reads.Unchanged(t)
	}
	if changes.Len()*len(questions) < len(reads) {
		return reads.unchangedAt(t, changes)
	}
	for question, answer := range reads {
		if changes.Has(question[2:]) && ask(t, question[:2], question[2:]) != answer {
			return false
		}
	}
	return true
}

// questions are all that can be asked about one path.
var questions = [...]string{askStat, askReal, askNames, askManifests, askMarkers, askWhole}

// unchangedAt is UnchangedBy for few changes: it looks up what was asked about
// them.
func (reads Reads) unchangedAt(t tree.Tree, changes *tree.Changes) bool {
	key := make([]byte, 0, 256)
	for name := range changes.Paths() {
		for _, question := range questions {
			key = append(append(key[:0], question...), name...)
			if answer, asked := reads[string(key)]; asked && ask(t, question, name) != answer {
				return false
			}
		}
	}
	return true
}

func ask(t tree.Tree, question, name string) string {
	switch question {
	case askStat:
		e, err := t.Stat(name)
		return answered(identify(e), err)
	case askReal:
		real, err := RealPath(t, name)
		return answered(real, err)
	case askWhole:
		e, err := t.Stat(name)
		return answered(e.ID, err)
	}
	entries, err := List(t, name, question)
	return answered(digest(entries), err)
}

// lister is a tree that notes only the names asked for, so that a README
// added to a folder of manifests changes nothing.
type lister interface {
	List(name, question string) ([]tree.Entry, error)
}

// List gives the names in a folder that a question is about.
func List(t tree.Tree, name, question string) ([]tree.Entry, error) {
	if l, ok := t.(lister); ok {
		return l.List(name, question)
	}
	entries, err := t.ReadDir(name)
	if err != nil {
		return nil, err
	}
	return Select(entries, question), nil
}

// Select gives those of the names in a folder that a question is about.
func Select(entries []tree.Entry, question string) []tree.Entry {
	var wanted func(tree.Entry) bool
	switch question {
	case askManifests:
		wanted = func(e tree.Entry) bool { return e.Kind != tree.File || isManifest(e.Name) }
	case askMarkers:
		wanted = func(e tree.Entry) bool { return isMarker(e.Name) }
	default:
		return entries
	}
	var out []tree.Entry
	for _, e := range entries {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}

func isManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json", ".jsonnet"}, path.Ext(name))
}

func isMarker(name string) bool {
	return strings.HasSuffix(name, "Chart.yaml") || slices.Contains(kustomizationNames, name) || strings.HasPrefix(name, overridePrefix)
}

// realPather is a tree that knows where a path leads when the links on its
// way are followed.
type realPather interface {
	RealPath(name string) (string, error)
}

// RealPath asks a tree; in one that cannot tell, a path leads to itself.
func RealPath(t tree.Tree, name string) (string, error) {
	if r, ok := t.(realPather); ok {
		return r.RealPath(name)
	}
	if _, err := t.Stat(name); err != nil {
		return "", err
	}
	return path.Clean(name), nil
}
