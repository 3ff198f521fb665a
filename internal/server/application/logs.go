package application

import (
	"bufio"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// LogsQuery asks for logs.
type LogsQuery struct {
	Target
	Namespace    string `json:"-" query:"namespace"`
	PodName      string `json:"-" query:"podName" path:"podName"`
	Container    string `json:"-" query:"container"`
	SinceSeconds int64  `json:"-" query:"sinceSeconds"`
	SinceTime    string `json:"-" query:"sinceTime"`
	TailLines    int64  `json:"-" query:"tailLines"`
	Follow       bool   `json:"-" query:"follow"`
	UntilTime    string `json:"-" query:"untilTime"`
	Filter       string `json:"-" query:"filter"`
	MatchCase    bool   `json:"-" query:"matchCase"`
	Kind         string `json:"-" query:"kind"`
	Group        string `json:"-" query:"group"`
	ResourceName string `json:"-" query:"resourceName"`
	Previous     bool   `json:"-" query:"previous"`
	Download     bool   `json:"-" query:"download"`
}

// Filename is that of a download.
func (q *LogsQuery) Filename() string {
	if !q.Download {
		return ""
	}
	clean := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '_'
		}, s)
	}
	return fmt.Sprintf("%s-%s-%s.log", clean(q.Namespace), clean(q.PodName), clean(q.Container))
}

// LogEntry is one line; the last entry is empty.
type LogEntry struct {
	Content      string       `json:"content"`
	TimeStamp    *metav1.Time `json:"timeStamp,omitempty"`
	Last         bool         `json:"last"`
	TimeStampStr string       `json:"timeStampStr"`
	PodName      string       `json:"podName"`

	at time.Time
}

// Text is the line for a download.
func (e *LogEntry) Text() []byte {
	if e.Last {
		return nil
	}
	return []byte(e.Content + "\n")
}

// maxPodsKey of argocd-cm bounds the pods of one request.
const (
	maxPodsKey     = "server.maxPodLogsToRender"
	maxPodsDefault = 10
	maxLine        = 256 << 10
)

// Logs streams the logs of the pods that the query names, merged by time.
func (s *Service) Logs(ctx context.Context, c *route.Call, q *LogsQuery, send func(*LogEntry) error) error {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return err
	}
	if err := c.Must(access.Request{Resource: "logs", Action: "get", Object: s.object(app)}); err != nil {
		return err
	}
	if s.engine() == nil {
		return unavailable()
	}
	options, until, err := q.options(s.Clock.Now())
	if err != nil {
		return err
	}
	tree, err := s.engine().Tree(ctx, app)
	if err != nil {
		return err
	}
	pods := q.pods(tree)
	most := maxPodsDefault
	if n, err := strconv.Atoi(s.Hub.Config("argocd-cm")[maxPodsKey]); err == nil && n > 0 {
		most = n
	}
	switch {
	case len(pods) > most:
		return fault.New(fault.InvalidArgument, "max pods to view logs are reached. Please provide more granular query")
	case len(pods) == 0:
		return fault.New(fault.InvalidArgument, "no pod of application %s fits the query", app.Name)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	sources, err := s.open(inner, app, pods, LogSource{Container: q.Container, Options: options})
	if err != nil {
		return err
	}
	if err := send(nil); err != nil {
		return err
	}
	accept := q.accepts()
	err = merge(inner, sources, q.Follow, func(e *LogEntry) error {
		switch {
		case !until.IsZero() && e.at.After(until):
			return io.EOF
		case !accept(e.Content):
			return nil
		}
		return send(e)
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	now := metav1.NewTime(s.Clock.Now())
	return send(&LogEntry{Last: true, TimeStamp: &now, TimeStampStr: now.UTC().Format(time.RFC3339Nano)})
}

func (q *LogsQuery) options(now time.Time) (corev1.PodLogOptions, time.Time, error) {
	o := corev1.PodLogOptions{Container: q.Container, Follow: q.Follow, Timestamps: true, Previous: q.Previous}
	var until time.Time
	if q.SinceSeconds < 0 || q.TailLines < 0 {
		return o, until, fault.New(fault.InvalidArgument, "sinceSeconds and tailLines: want 0 or more")
	}
	if q.SinceSeconds > 0 {
		o.SinceSeconds = &q.SinceSeconds
	}
	if q.TailLines > 0 {
		o.TailLines = &q.TailLines
	}
	if q.SinceTime != "" {
		t, err := time.Parse(time.RFC3339Nano, q.SinceTime)
		if err != nil {
			return o, until, fault.New(fault.InvalidArgument, "sinceTime: want a time like %s", now.UTC().Format(time.RFC3339))
		}
		o.SinceSeconds, o.SinceTime = nil, &metav1.Time{Time: t}
	}
	if q.UntilTime != "" {
		t, err := time.Parse(time.RFC3339Nano, q.UntilTime)
		if err != nil {
			return o, until, fault.New(fault.InvalidArgument, "invalid untilTime parameter value: want a time like %s", now.UTC().Format(time.RFC3339Nano))
		}
		until = t
	}
	return o, until, nil
}

// accepts is the filter: ! inverts it, case does not count unless asked.
func (q *LogsQuery) accepts() func(string) bool {
	text, inverted := strings.CutPrefix(q.Filter, "!")
	if text == "" {
		return func(string) bool { return true }
	}
	fold := func(s string) string { return s }
	if !q.MatchCase {
		fold = strings.ToLower
	}
	text = fold(text)
	return func(line string) bool { return strings.Contains(fold(line), text) != inverted }
}

// pods are those that the query names, or that belong to what it names.
func (q *LogsQuery) pods(t *Tree) []ResourceRef {
	parents := map[string][]ResourceRef{}
	for _, n := range t.Nodes {
		parents[n.UID] = n.ParentRefs
	}
	fits := func(r ResourceRef) bool {
		return (q.Kind == "" || q.Kind == r.Kind) && (q.Group == "" || q.Group == r.Group) &&
			(q.ResourceName == "" || q.ResourceName == r.Name) && (q.Namespace == "" || q.Namespace == r.Namespace)
	}
	var above func(r ResourceRef, depth int) bool
	above = func(r ResourceRef, depth int) bool {
		return fits(r) || depth < 20 && slices.ContainsFunc(parents[r.UID], func(p ResourceRef) bool { return above(p, depth+1) })
	}
	var out []ResourceRef
	for _, n := range t.Nodes {
		if n.Kind != "Pod" || n.Group != "" || q.Namespace != "" && n.Namespace != q.Namespace || q.PodName != "" && n.Name != q.PodName {
			continue
		}
		if above(n.ResourceRef, 0) {
			out = append(out, n.ResourceRef)
		}
	}
	return out
}

// podLog is the log of one pod.
type podLog struct {
	pod     string
	entries chan *LogEntry
	err     error
}

func (s *Service) open(ctx context.Context, app *v1alpha1.Application, pods []ResourceRef, from LogSource) ([]*podLog, error) {
	var out []*podLog
	for _, p := range pods {
		source := from
		source.Namespace, source.Pod = p.Namespace, p.Name
		r, err := s.engine().Logs(ctx, app, source)
		if err != nil {
			return nil, fault.New(fault.FailedPrecondition, "log of pod %s: %w", p.Name, err)
		}
		l := &podLog{pod: p.Name, entries: make(chan *LogEntry, 64)}
		go l.read(ctx, r)
		out = append(out, l)
	}
	return out, nil
}

// read turns lines into entries until the log or ctx ends.
func (l *podLog) read(ctx context.Context, r io.ReadCloser) {
	defer close(l.entries)
	defer r.Close() //nolint:errcheck // the log is read
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	reader := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			select {
			case l.entries <- l.entry(strings.TrimRight(string(line), "\r\n")):
			case <-ctx.Done():
				return
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				l.err = err
			}
			return
		}
	}
}

func (l *podLog) entry(line string) *LogEntry {
	stamp, content, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return &LogEntry{Content: line, PodName: l.pod}
	}
	return &LogEntry{Content: content, PodName: l.pod, TimeStamp: &metav1.Time{Time: at}, TimeStampStr: stamp, at: at}
}

// heads is a heap of the next entries, the oldest first.
type heads []head

type head struct {
	entry *LogEntry
	from  *podLog
}

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].entry.at.Before(h[j].entry.at) }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *heads) Push(x any) {
	if one, ok := x.(head); ok {
		*h = append(*h, one)
	}
}

// Pop is for package heap.
func (h *heads) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// merge hands on the entries of all logs in the order of their times. A log
// that is followed may have nothing to say for long: then entries come in the
// order in which they arrive.
func merge(ctx context.Context, logs []*podLog, follow bool, emit func(*LogEntry) error) error {
	if follow {
		return interleave(ctx, logs, emit)
	}
	var h heads
	next := func(l *podLog) error {
		select {
		case e, ok := <-l.entries:
			if !ok {
				return l.err
			}
			heap.Push(&h, head{entry: e, from: l})
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, l := range logs {
		if err := next(l); err != nil {
			return err
		}
	}
	for h.Len() > 0 {
		one, _ := heap.Pop(&h).(head)
		if err := emit(one.entry); err != nil {
			return err
		}
		if err := next(one.from); err != nil {
			return err
		}
	}
	return nil
}

func interleave(ctx context.Context, logs []*podLog, emit func(*LogEntry) error) error {
	all := make(chan *LogEntry)
	ended := make(chan error, len(logs))
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, l := range logs {
		go func() {
			for e := range l.entries {
				select {
				case all <- e:
				case <-inner.Done():
					return
				}
			}
			ended <- l.err
		}()
	}
	for left := len(logs); left > 0; {
		select {
		case e := <-all:
			if err := emit(e); err != nil {
				return err
			}
		case err := <-ended:
			if err != nil {
				return err
			}
			left--
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
