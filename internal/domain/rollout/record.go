package rollout

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// memory is what must survive a restart: all the planner ever remembers. It is
// stored in status.rollout.record; status.applicationStatus and the steps in
// status.rollout are made from it. Times are seconds since 1970 unless a
// comment says otherwise; zero is never.
type memory struct {
	// Mode is what the rollout does instead of going forward.
	Mode mode `json:"m,omitempty"`
	// Sticky is a halt that does not end by itself.
	Sticky     string `json:"k,omitempty"`
	StickyStep string `json:"ks,omitempty"`
	// Undecided is since when new revisions wait for evidence that they change
	// anything.
	Undecided int64 `json:"u,omitempty"`
	// PausedFor and PauseSince make the clock that stands still while paused,
	// in milliseconds.
	PausedFor  int64 `json:"pf,omitempty"`
	PauseSince int64 `json:"ps,omitempty"`
	// Progress is when a member last advanced.
	Progress int64 `json:"g,omitempty"`
	Stalled  bool  `json:"st,omitempty"`
	// Needed says that some member needed a sync in this rollout.
	Needed bool `json:"n,omitempty"`
	// Handled are annotations that have been taken in and not yet seen removed.
	Handled map[string]string `json:"h,omitempty"`
	Steps   []stepMemory      `json:"s,omitempty"`
	// Lists are the lists of revisions that entries refer to.
	Lists [][]string `json:"l,omitempty"`

	entries []entry
	index   map[string]int
}

type mode string

const (
	modeAborted     mode = "Aborted"
	modeRollingBack mode = "RollingBack"
	modeRolledBack  mode = "RolledBack"
)

// stepMemory is remembered by what a step selects, never by its position.
type stepMemory struct {
	Key       string `json:"k"`
	Announced bool   `json:"a,omitempty"`
	// Inherit says that what a step has to prove beyond health was proven for
	// what its members run; void once a member needs a sync.
	Inherit bool `json:"i,omitempty"`
	// Touched: a member was synced in this rollout. Needed: one needs or
	// needed it.
	Touched   bool  `json:"t,omitempty"`
	Needed    bool  `json:"n,omitempty"`
	Passed    bool  `json:"p,omitempty"`
	Reopened  bool  `json:"r,omitempty"`
	Started   int64 `json:"sa,omitempty"`
	Healthy   int64 `json:"he,omitempty"`
	Completed int64 `json:"co,omitempty"`
	// PausedAt is PausedFor when it became current, Paused how long it was
	// paused when it was complete, in milliseconds.
	PausedAt int64 `json:"pa,omitempty"`
	Paused   int64 `json:"pd,omitempty"`
	// Used and Runs are the clock of stepTimeout, in milliseconds: what has
	// been used up, and since when (rollout clock) it runs.
	Used int64 `json:"ut,omitempty"`
	Runs int64 `json:"ru,omitempty"`
	// Baked and Baking are the bake clock, in milliseconds: what has
	// accumulated, and since when all members are Healthy.
	Baked  int64 `json:"b,omitempty"`
	Baking int64 `json:"bm,omitempty"`
	// Batch numbers the batches; BatchSize is the frozen limit.
	Batch     int32 `json:"ba,omitempty"`
	BatchSize int32 `json:"bs,omitempty"`
	// Gathers is since when a batch waits for members to be compared, in
	// milliseconds.
	Gathers  int64                      `json:"ga,omitempty"`
	Awaits   int64                      `json:"aw,omitempty"` // rollout clock, milliseconds
	TimedOut bool                       `json:"to,omitempty"`
	Skipped  bool                       `json:"sk,omitempty"` // a failed analysis is tolerated
	Measures int64                      `json:"ms,omitempty"` // analysis began, milliseconds
	Approval *v1alpha1.RolloutApproval  `json:"ap,omitempty"`
	Analysis []v1alpha1.RolloutAnalysis `json:"an,omitempty"`
}

// entry is what is remembered of one Application.
type entry struct {
	Name      string
	Status    string
	Reason    string
	Step      int // the step it counts for, 0 for none
	Admitted  int // the step whose slot it uses, 0 for none
	Attempt   int32
	Batch     int32
	Revisions []string
	Spec      string
	Key       string
	UID       string
	Since     int64
	FailedAt  int64 // milliseconds
	Issued    int64 // rollout clock, milliseconds
	Flags     flags
	Point     int64 // id of the rollback point in the history plus one
	Heals     int64
	HealedAt  int64 // milliseconds
	Asked     int64
}

type flags uint16

const (
	// touched: it was synced in this rollout.
	touched flags = 1 << iota
	// remaining: differences after a complete sync are accepted.
	remaining
	// again: a person asked for another attempt.
	again
	// back: it is to return to its rollback point; returning: its current
	// attempt does that; undone: it has returned, or cannot.
	back
	returning
	undone
	// unproven: its target was taken to be the same because others proved
	// theirs so; the key is that of the target before.
	unproven
)

func (f flags) has(x flags) bool { return f&x != 0 }

func (f *flags) set(x flags, on bool) {
	if on {
		*f |= x
	} else {
		*f &^= x
	}
}

// inFlight says that the entry uses a slot.
func (e *entry) inFlight() bool {
	return e.Status == Pending || (e.Status == Progressing && e.Admitted > 0)
}

const (
	plainRecord  = "1t:"
	packedRecord = "1z:"
	// packFrom is the size from which a record is compressed.
	packFrom = 4 << 10
	// maxRecord bounds an unpacked record.
	maxRecord = 16 << 20
)

func (mem *memory) get(name string) *entry {
	if i, ok := mem.index[name]; ok {
		return &mem.entries[i]
	}
	return nil
}

// encode makes the text of status.rollout.record.
func (mem *memory) encode() (string, error) {
	lists := map[string]int{}
	mem.Lists = nil
	refs := make([]int, len(mem.entries))
	for i := range mem.entries {
		r := mem.entries[i].Revisions
		if i > 0 && slices.Equal(r, mem.entries[i-1].Revisions) {
			refs[i] = refs[i-1]
			continue
		}
		key := strings.Join(r, "\x00")
		n, ok := lists[key]
		if !ok {
			n = len(mem.Lists)
			lists[key] = n
			mem.Lists = append(mem.Lists, r)
		}
		refs[i] = n
	}
	head, err := json.Marshal(mem)
	if err != nil {
		return "", err
	}
	raw := make([]byte, 0, len(head)+len(mem.entries)*64)
	raw = append(raw, head...)
	for i := range mem.entries {
		raw = append(raw, '\n')
		raw = mem.entries[i].append(raw, refs[i])
	}
	if len(raw) < packFrom {
		return plainRecord + string(raw), nil
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(raw); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return packedRecord + base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}

var statusLetters = map[string]byte{Waiting: 'W', Pending: 'P', Progressing: 'G', Healthy: 'H'}

var letterStatus = map[byte]string{'W': Waiting, 'P': Pending, 'G': Progressing, 'H': Healthy}

// append writes one line; empty fields at the end are left out.
func (e *entry) append(raw []byte, list int) []byte {
	raw = append(raw, e.Name...)
	raw = append(raw, '|', statusLetters[e.Status], '|')
	raw = append(raw, e.Reason...)
	for _, n := range [...]int64{int64(e.Step), int64(list), e.Since} {
		raw = append(raw, '|')
		raw = strconv.AppendInt(raw, n, 36)
	}
	for _, s := range [...]string{e.Spec, e.Key, e.UID} {
		raw = append(raw, '|')
		raw = append(raw, s...)
	}
	for _, n := range [...]int64{int64(e.Flags), e.Point, int64(e.Attempt), int64(e.Batch), int64(e.Admitted), e.FailedAt, e.Issued, e.Asked, e.Heals, e.HealedAt} {
		raw = append(raw, '|')
		if n != 0 {
			raw = strconv.AppendInt(raw, n, 36)
		}
	}
	return bytes.TrimRight(raw, "|")
}

var errRecord = errors.New("status.rollout.record cannot be read")

// decode reads the text of status.rollout.record.
func decode(text string) (*memory, error) {
	raw, err := unpack(text)
	if err != nil {
		return nil, err
	}
	head, rest, more := strings.Cut(raw, "\n")
	mem := &memory{}
	if err := json.Unmarshal([]byte(head), mem); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if !more {
		return mem, nil
	}
	mem.entries = make([]entry, 0, 1+strings.Count(rest, "\n"))
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		e, err := parse(line, mem.Lists)
		if err != nil {
			return nil, err
		}
		mem.entries = append(mem.entries, e)
	}
	return mem, nil
}

func unpack(text string) (string, error) {
	if raw, ok := strings.CutPrefix(text, plainRecord); ok {
		return raw, nil
	}
	packed, ok := strings.CutPrefix(text, packedRecord)
	if !ok {
		return "", errRecord
	}
	data, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errRecord, err)
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), maxRecord+1))
	if err != nil || len(raw) > maxRecord {
		return "", fmt.Errorf("%w: %v", errRecord, err) //nolint:errorlint // may be nil
	}
	return string(raw), nil
}

func parse(line string, lists [][]string) (entry, error) {
	var f [19]string
	n := 0
	for rest, more := line, true; more && n < len(f); n++ {
		f[n], rest, more = strings.Cut(rest, "|")
	}
	if n < 6 || f[0] == "" || f[1] == "" || letterStatus[f[1][0]] == "" {
		return entry{}, fmt.Errorf("%w: line %.60q", errRecord, line)
	}
	var bad error
	num := func(i int) int64 {
		if f[i] == "" {
			return 0
		}
		v, err := strconv.ParseInt(f[i], 36, 64)
		if err != nil {
			bad = err
		}
		return v
	}
	small := func(i int) int32 { return int32(num(i)) } //nolint:gosec // our own counters
	e := entry{
		Name: f[0], Status: letterStatus[f[1][0]], Reason: f[2], Step: int(num(3)), Since: num(5), Spec: f[6], Key: f[7], UID: f[8],
		Flags: flags(num(9)), Point: num(10), Attempt: small(11), Batch: small(12), Admitted: int(num(13)), FailedAt: num(14), //nolint:gosec // our own bits
		Issued: num(15), Asked: num(16), Heals: num(17), HealedAt: num(18),
	}
	list := int(num(4))
	if bad != nil || list < 0 || list >= len(lists) {
		return entry{}, fmt.Errorf("%w: line %.60q", errRecord, line)
	}
	e.Revisions = lists[list]
	return e, nil
}

func (mem *memory) reindex() {
	mem.index = make(map[string]int, len(mem.entries))
	for i := range mem.entries {
		mem.index[mem.entries[i].Name] = i
	}
}
