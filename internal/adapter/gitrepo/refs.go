package gitrepo

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the size of ids
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

var (
	fullID  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	shortID = regexp.MustCompile(`^[0-9a-fA-F]{7,64}$`)
)

// objectID is the id of an object in either format: SHA-1 or SHA-256.
type objectID struct {
	raw  [sha256.Size]byte
	size uint8
}

func (o objectID) String() string { return hex.EncodeToString(o.raw[:o.size]) }

// Refs is what a remote offers: id by full ref name, HEAD included, sorted by
// name, found by halving. The id of an annotated tag is that of the commit it
// points to. A Refs never changes.
type Refs struct {
	names    []string // parts of one string
	ids      []objectID
	tags     map[string]objectID // tag objects of annotated tags, by full name
	digest   [sha256.Size]byte   // of the whole answer
	versions sync.Map            // tag prefix: []version, made when asked for
}

type version struct {
	parsed *semver.Version
	at     int
}

// parseRefs reads the output of git ls-remote.
func parseRefs(raw []byte) *Refs {
	n := bytes.Count(raw, []byte{'\n'}) + 1
	r := &Refs{names: make([]string, 0, n), ids: make([]objectID, 0, n), tags: map[string]objectID{}, digest: sha256.Sum256(raw)}
	var text strings.Builder
	text.Grow(len(raw))
	ends := make([]int, 0, n)
	peeledOf := -1
	for line := range bytes.Lines(raw) {
		id, name, ok := bytes.Cut(bytes.TrimSpace(line), []byte{'\t'})
		o, valid := parseID(string(id))
		if !ok || !valid || len(name) == 0 {
			continue
		}
		if peeled, isPeeled := bytes.CutSuffix(name, []byte("^{}")); isPeeled {
			if peeledOf >= 0 && bytes.Equal([]byte(text.String()[start(ends, peeledOf):ends[peeledOf]]), peeled) {
				r.tags[string(peeled)] = r.ids[peeledOf]
				r.ids[peeledOf] = o // an annotated tag: its commit follows its line
			}
			continue
		}
		text.Write(name)
		ends, r.ids = append(ends, text.Len()), append(r.ids, o)
		peeledOf = len(r.ids) - 1
	}
	all := text.String()
	for i, end := range ends {
		r.names = append(r.names, all[start(ends, i):end])
	}
	if !slices.IsSorted(r.names) {
		r.sort()
	}
	return r
}

func (r *Refs) sort() {
	order := make([]int, len(r.names))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(r.names[a], r.names[b]) })
	names, ids := make([]string, len(order)), make([]objectID, len(order))
	for to, from := range order {
		names[to], ids[to] = r.names[from], r.ids[from]
	}
	r.names, r.ids = names, ids
}

func start(ends []int, i int) int {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

// find gives the id of a full ref name.
func (r *Refs) find(name string) (string, bool) {
	at, ok := slices.BinarySearch(r.names, name)
	if !ok {
		return "", false
	}
	return r.ids[at].String(), true
}

// under iterates over the positions of refs whose name starts with prefix.
func (r *Refs) under(prefix string) iter.Seq[int] {
	at, _ := slices.BinarySearch(r.names, prefix)
	return func(yield func(int) bool) {
		for ; at < len(r.names) && strings.HasPrefix(r.names[at], prefix) && yield(at); at++ {
		}
	}
}

// offers says that some ref points at id.
func (r *Refs) offers(id string) bool {
	o, ok := parseID(id)
	return ok && r != nil && slices.Contains(r.ids, o)
}

func parseID(id string) (o objectID, ok bool) {
	if len(id) != 2*sha1.Size && len(id) != 2*sha256.Size {
		return o, false
	}
	n, err := hex.Decode(o.raw[:], []byte(id))
	o.size = uint8(n) //nolint:gosec // 20 or 32
	return o, err == nil
}

// tagsAt are the names of the tags that lead to id, in name order.
func (r *Refs) tagsAt(id string) []string {
	o, ok := parseID(id)
	if !ok {
		return nil
	}
	var out []string
	for at := range r.under("refs/tags/") {
		if r.ids[at] == o {
			out = append(out, strings.TrimPrefix(r.names[at], "refs/tags/"))
		}
	}
	return out
}

// versionsOf are the tags with a prefix that are versions, newest first.
func (r *Refs) versionsOf(prefix string) []version {
	if found, ok := r.versions.Load(prefix); ok {
		return found.([]version)
	}
	var out []version
	for at := range r.under("refs/tags/" + prefix) {
		if v, err := semver.NewVersion(r.names[at][len("refs/tags/")+len(prefix):]); err == nil {
			out = append(out, version{v, at})
		}
	}
	slices.SortStableFunc(out, func(a, b version) int { return b.parsed.Compare(a.parsed) })
	r.versions.Store(prefix, out)
	return out
}

// count is the number of refs whose name starts with prefix.
func (r *Refs) count(prefix string) (n int) {
	for range r.under(prefix) {
		n++
	}
	return n
}

// short are the names of the refs below a prefix, without it, in order.
func (r *Refs) short(prefix string) []string {
	out := []string{}
	for at := range r.under(prefix) {
		out = append(out, r.names[at][len(prefix):])
	}
	return out
}

// String tells the size, for messages.
func (r *Refs) String() string { return fmt.Sprintf("%d refs", len(r.names)) }
