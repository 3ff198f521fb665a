package application

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Bounds of the journal, in bytes of JSON: it is one object of the hub.
const (
	longestEntry   = 4 << 10
	longestJournal = 512 << 10
)

// journalKey is the key of the ConfigMap under which the entries are.
const journalKey = "operations"

// errNoRoom says that an operation is to be stored in its Application.
var errNoRoom = errors.New("no room in the journal")

// entry is the begin of an operation that its Application does not show yet.
type entry struct {
	UID       types.UID   `json:"uid"`
	ID        string      `json:"id"`
	StartedAt metav1.Time `json:"startedAt"`
	// Operation is without its sources: they are those of the Application, and
	// may quote what only its readers may see. Sources is a digest of them.
	Operation v1alpha1.Operation `json:"operation"`
	Sources   string             `json:"sources"`
}

// newEntry makes the entry of an operation that has begun; ok is false when it
// has other sources than its Application.
func newEntry(app *v1alpha1.Application) (e entry, ok bool, err error) {
	op, state := app.Operation.DeepCopy(), app.Status.OperationState
	if !reflect.DeepEqual(op.Sync, withSources(op.Sync, &app.Spec)) {
		return entry{}, false, nil
	}
	op.Sync.Source, op.Sync.Sources = nil, nil
	sources, err := digestOf(app.Spec.GetSources())
	return entry{UID: app.UID, ID: state.ID, StartedAt: state.StartedAt, Operation: *op, Sources: sources}, err == nil, err
}

// operation is the one that an Application is to carry on, nil when the entry
// is not of this Application as it is now.
func (e entry) operation(app *v1alpha1.Application) *v1alpha1.Operation {
	sources, err := digestOf(app.Spec.GetSources())
	if err != nil || e.UID != app.UID || e.Operation.Sync == nil || e.Sources != sources {
		return nil
	}
	op := e.Operation.DeepCopy()
	op.Sync = withSources(op.Sync, &app.Spec)
	return op
}

// withSources is the operation with the sources of an Application.
func withSources(sync *v1alpha1.SyncOperation, spec *v1alpha1.ApplicationSpec) *v1alpha1.SyncOperation {
	out, from := sync.DeepCopy(), spec.DeepCopy()
	out.Source, out.Sources = nil, from.Sources
	if len(from.Sources) == 0 {
		out.Source = from.Source
	}
	return out
}

func digestOf(sources []v1alpha1.ApplicationSource) (string, error) {
	raw, err := json.Marshal(sources)
	if err != nil {
		return "", fmt.Errorf("sources: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// journal stores the begins of operations ahead of their acts, many in one
// write: those that are noted while a write is on its way go with the next one.
// An entry goes when its Application shows the operation; what is outdated by
// then is told by the id and the time of its begin.
type journal struct {
	client client.Client
	name   types.NamespacedName

	mu      sync.Mutex
	entries map[types.NamespacedName]json.RawMessage
	size    int
	// next is the write that entries noted now go with, nil when there are
	// none; flying says that one is on its way.
	next   *flight
	flying bool

	writes  *prometheus.CounterVec
	refused prometheus.Counter
	waiting prometheus.Gauge
	bytes   prometheus.Gauge
}

// flight is a write of the journal.
type flight struct {
	landed chan struct{}
	err    error
}

func newJournal(c client.Client, namespace string, r prometheus.Registerer) *journal {
	j := &journal{
		client: c, name: types.NamespacedName{Namespace: namespace, Name: v1alpha1.JournalName}, entries: map[types.NamespacedName]json.RawMessage{},
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_journal_writes_total", Help: "Writes of the journal of begun operations, by result: ok or error.",
		}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_journal_refused_total", Help: "Begun operations that were stored in their Applications because the journal was full.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_journal_operations", Help: "Begun operations that only the journal knows."}),
		bytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_journal_bytes", Help: "Size of the entries of the journal."}),
	}
	r.MustRegister(j.writes, j.refused, j.waiting, j.bytes)
	return j
}

// read takes over what another process has left.
func (j *journal) read(ctx context.Context, from client.Reader) error {
	var stored corev1.ConfigMap
	if err := from.Get(ctx, j.name, &stored); err != nil {
		return client.IgnoreNotFound(err)
	}
	var list map[string]json.RawMessage
	if err := json.Unmarshal([]byte(stored.Data[journalKey]), &list); err != nil {
		return fmt.Errorf("ConfigMap/%s key %q: not valid JSON: %w: delete the ConfigMap", j.name.Name, journalKey, err) //nolint:staticcheck // names an object
	}
	for text, raw := range list {
		namespace, name, _ := strings.Cut(text, "/")
		key := types.NamespacedName{Namespace: namespace, Name: name}
		var app v1alpha1.Application
		if from.Get(ctx, key, &app) != nil {
			continue // it has gone
		}
		j.mu.Lock()
		j.put(key, raw)
		j.mu.Unlock()
	}
	return nil
}

// note stores the begin of an operation; when it returns nil, it is stored.
func (j *journal) note(ctx context.Context, key types.NamespacedName, e entry) error {
	f, err := j.add(ctx, key, e)
	if err != nil {
		return err
	}
	select {
	case <-f.landed:
		err = f.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		j.drop(key)
	}
	return err
}

// add gives the write that an entry goes with.
func (j *journal) add(ctx context.Context, key types.NamespacedName, e entry) (*flight, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(raw) > longestEntry || j.size+len(raw) > longestJournal {
		j.refused.Inc()
		return nil, errNoRoom
	}
	j.put(key, raw)
	if j.next == nil {
		j.next = &flight{landed: make(chan struct{})}
	}
	f := j.next
	if !j.flying {
		j.flying = true
		go j.fly(ctx)
	}
	return f, nil
}

// fly writes until nothing is left to be written.
func (j *journal) fly(ctx context.Context) {
	for {
		j.mu.Lock()
		f := j.next
		if j.next = nil; f == nil {
			j.flying = false
			j.mu.Unlock()
			return
		}
		now := maps.Clone(j.entries)
		j.mu.Unlock()
		f.err = j.write(ctx, now)
		result := "ok"
		if f.err != nil {
			result = "error"
		}
		j.writes.WithLabelValues(result).Inc()
		close(f.landed)
	}
}

func (j *journal) write(ctx context.Context, entries map[types.NamespacedName]json.RawMessage) error {
	list := make(map[string]json.RawMessage, len(entries))
	for key, raw := range entries {
		list[key.String()] = raw
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: j.name.Namespace, Name: j.name.Name}, Data: map[string]string{journalKey: string(text)}}
	patch, err := json.Marshal(map[string]any{"data": m.Data})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	err = j.client.Patch(ctx, m.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) {
		err = j.client.Create(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("ConfigMap/%s: %w", j.name.Name, err) //nolint:staticcheck // names an object
	}
	return nil
}

// entry of an Application.
func (j *journal) entry(key types.NamespacedName) (entry, bool) {
	j.mu.Lock()
	raw, ok := j.entries[key]
	j.mu.Unlock()
	var e entry
	return e, ok && json.Unmarshal(raw, &e) == nil
}

// drop forgets the entry of an Application; the next write is without it.
func (j *journal) drop(key types.NamespacedName) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.size -= len(j.entries[key])
	delete(j.entries, key)
	j.measure()
}

// put is called with the lock held.
func (j *journal) put(key types.NamespacedName, raw json.RawMessage) {
	j.size += len(raw) - len(j.entries[key])
	j.entries[key] = raw
	j.measure()
}

// measure is called with the lock held.
func (j *journal) measure() {
	j.waiting.Set(float64(len(j.entries)))
	j.bytes.Set(float64(j.size))
}
