package assessment

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/internal/domain/health"
)

const (
	// maxRemembered bounds one half of the memory; when it is full the older
	// half is forgotten.
	maxRemembered = 20_000
	// failureAge is how long a failed judgement holds: the script may have
	// been stopped for want of time.
	failureAge = time.Minute
)

type memoryKey struct {
	uid     types.UID
	version string
}

type remembered struct {
	resourceVersion string
	verdict         health.Verdict
	until           time.Time
}

// memory keeps verdicts of the newest version of each object.
type memory struct {
	mu         sync.Mutex
	young, old map[memoryKey]remembered
}

func newMemory() *memory {
	return &memory{young: map[memoryKey]remembered{}, old: map[memoryKey]remembered{}}
}

func (m *memory) recall(key memoryKey, resourceVersion string, now time.Time) (health.Verdict, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.young[key]
	if !ok {
		r, ok = m.old[key]
	}
	if !ok || r.resourceVersion != resourceVersion || !r.until.IsZero() && now.After(r.until) {
		return health.Verdict{}, false
	}
	return r.verdict, true
}

func (m *memory) keep(key memoryKey, resourceVersion string, v health.Verdict, now time.Time) {
	r := remembered{resourceVersion: resourceVersion, verdict: v}
	if v.Err != nil {
		r.until = now.Add(failureAge)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= maxRemembered {
		m.old, m.young = m.young, map[memoryKey]remembered{}
	}
	m.young[key] = r
}
