package eventlog

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gobwas/glob"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
)

// Wanted says whether events of a reason are made: reasons is all, none or a
// list, of which the first all or none wins; none at all is all
// (spec/observability.md §3).
func Wanted(reasons []string, reason string) bool {
	for _, r := range reasons {
		switch r {
		case "all":
			return true
		case "none":
			return false
		}
	}
	return len(reasons) == 0 || slices.Contains(reasons, reason)
}

// Labels are those of an object that its events carry: what
// resource.includeEventLabelKeys of argocd-cm lists and
// resource.excludeEventLabelKeys does not (spec/config.md §2).
func Labels(config, labels map[string]string) map[string]string {
	include, exclude := patterns(config["resource.includeEventLabelKeys"]), patterns(config["resource.excludeEventLabelKeys"])
	var out map[string]string
	for key, value := range labels {
		hit := func(g glob.Glob) bool { return g.Match(key) }
		if slices.ContainsFunc(include, hit) && !slices.ContainsFunc(exclude, hit) {
			if out == nil {
				out = map[string]string{}
			}
			out[key] = value
		}
	}
	return out
}

func patterns(list string) []glob.Glob {
	var out []glob.Glob
	for _, text := range strings.Split(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if g, err := glob.Compile(text); err == nil {
			out = append(out, g)
		}
	}
	return out
}

// carried is the annotation in which labels go from the recorder, which sees
// the object, to the sink, which stores the event; it is never stored.
const carried = "sluice.dev/labels"

// recorder puts labels of the object on its events, and leaves out those that
// nobody wants.
type recorder struct {
	record.EventRecorderLogger
	reasons []string
	config  *atomic.Pointer[func() map[string]string]
}

func (r *recorder) Event(object runtime.Object, kind, reason, message string) {
	r.AnnotatedEventf(object, nil, kind, reason, "%s", message)
}

func (r *recorder) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	r.AnnotatedEventf(object, nil, kind, reason, format, args...)
}

func (r *recorder) AnnotatedEventf(object runtime.Object, annotations map[string]string, kind, reason, format string, args ...any) {
	if !Wanted(r.reasons, reason) {
		return
	}
	r.EventRecorderLogger.AnnotatedEventf(object, r.carry(object, annotations), kind, reason, format, args...)
}

func (r *recorder) WithLogger(l klog.Logger) record.EventRecorderLogger {
	return &recorder{r.EventRecorderLogger.WithLogger(l), r.reasons, r.config}
}

// carry adds the labels to annotations.
func (r *recorder) carry(object runtime.Object, annotations map[string]string) map[string]string {
	config := r.config.Load()
	o, err := meta.Accessor(object)
	if config == nil || err != nil {
		return annotations
	}
	labels := Labels((*config)(), o.GetLabels())
	if len(labels) == 0 {
		return annotations
	}
	raw, err := json.Marshal(labels)
	if err != nil {
		return annotations
	}
	out := map[string]string{carried: string(raw)}
	for k, v := range annotations {
		out[k] = v
	}
	return out
}

// labelled is an event with the labels that it carries.
func labelled(e *corev1.Event) *corev1.Event {
	raw, found := e.Annotations[carried]
	if !found {
		return e
	}
	out := e.DeepCopy()
	delete(out.Annotations, carried)
	var labels map[string]string
	if json.Unmarshal([]byte(raw), &labels) == nil {
		out.Labels = labels
	}
	return out
}
