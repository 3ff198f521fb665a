package render

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Remote fetches what a source names outside its own tree. An implementation
// decides what the project may reach; its errors never hold credentials.
type Remote interface {
	// Chart is the newest chart of a Helm or OCI repository in a range of
	// versions.
	Chart(ctx context.Context, c ChartRef) (tree.Tree, error)
	// File is the content behind an http or https URL.
	File(ctx context.Context, url string) ([]byte, error)
	// Base is a revision of another Git repository.
	Base(ctx context.Context, url, revision string) (tree.Tree, error)
}

// ChartRef names a chart.
type ChartRef struct{ Repository, Name, Versions string }

var errNoRemote = errors.New("reading from outside the repository is not available here")

func (j *job) remote() Remote {
	if j.Remote == nil {
		return nowhere{}
	}
	return j.Remote
}

// nowhere refuses everything.
type nowhere struct{}

var _ Remote = nowhere{}

func (nowhere) Chart(context.Context, ChartRef) (tree.Tree, error)      { return nil, errNoRemote }
func (nowhere) File(context.Context, string) ([]byte, error)            { return nil, errNoRemote }
func (nowhere) Base(context.Context, string, string) (tree.Tree, error) { return nil, errNoRemote }

// The questions to a Remote.
const (
	askChart = "chart"
	askFile  = "file"
	askBase  = "base"
)

// RemoteReads are the recorded reads from a Remote, as Reads are from a tree.
type RemoteReads map[string]string

// RemoteRecorder is a Remote that notes what is read from it.
type RemoteRecorder struct {
	remote Remote
	mu     sync.Mutex
	reads  RemoteReads
}

var _ Remote = (*RemoteRecorder)(nil)

// NewRemoteRecorder notes reads from r.
func NewRemoteRecorder(r Remote) *RemoteRecorder {
	return &RemoteRecorder{remote: r, reads: RemoteReads{}}
}

// Reads is what has been read so far.
func (r *RemoteRecorder) Reads() RemoteReads {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.reads)
}

func (r *RemoteRecorder) note(answer string, question ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads[strings.Join(question, "\x00")] = answer
}

// Chart asks the Remote and notes what it answered.
func (r *RemoteRecorder) Chart(ctx context.Context, c ChartRef) (tree.Tree, error) {
	t, err := r.remote.Chart(ctx, c)
	r.note(treeAnswer(t, err), askChart, c.Repository, c.Name, c.Versions)
	return t, err
}

// File asks the Remote and notes what it answered.
func (r *RemoteRecorder) File(ctx context.Context, url string) ([]byte, error) {
	content, err := r.remote.File(ctx, url)
	r.note(fileAnswer(content, err), askFile, url)
	return content, err
}

// Base asks the Remote and notes what it answered.
func (r *RemoteRecorder) Base(ctx context.Context, url, revision string) (tree.Tree, error) {
	t, err := r.remote.Base(ctx, url, revision)
	r.note(treeAnswer(t, err), askBase, url, revision)
	return t, err
}

func treeAnswer(t tree.Tree, err error) string {
	if err != nil {
		return broken
	}
	root, err := t.Stat(".")
	if err != nil {
		return broken
	}
	return t.Revision() + " " + root.ID
}

func fileAnswer(content []byte, err error) string {
	if err != nil {
		return broken
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Unchanged says that r answers all questions as they were answered before.
func (reads RemoteReads) Unchanged(ctx context.Context, r Remote) bool {
	for question, answer := range reads {
		part := strings.Split(question, "\x00")
		var now string
		switch {
		case part[0] == askChart && len(part) == 4:
			now = treeAnswer(r.Chart(ctx, ChartRef{part[1], part[2], part[3]}))
		case part[0] == askFile && len(part) == 2:
			now = fileAnswer(r.File(ctx, part[1]))
		case part[0] == askBase && len(part) == 3:
			now = treeAnswer(r.Base(ctx, part[1], part[2]))
		}
		if now != answer || now == broken {
			return false
		}
	}
	return true
}

// refuseScheme says which schemes value files may have.
func refuseScheme(field, url string, allowed []string) error {
	return fmt.Errorf("%s: %q: scheme is not one of %s (helm.valuesFileSchemes of argocd-cm)", field, url, strings.Join(allowed, ", "))
}
