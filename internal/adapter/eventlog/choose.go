package eventlog

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gobwas/glob"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
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
// resource.excludeEventLabelKeys does not. Of several sets, such as those of an
// Application and of its AppProject, the first that has a key says its value
// (spec/config.md §2).
func Labels(config map[string]string, sets ...map[string]string) map[string]string {
	include, exclude := patterns(config["resource.includeEventLabelKeys"]), patterns(config["resource.excludeEventLabelKeys"])
	var out map[string]string
	for _, labels := range slices.Backward(sets) {
		for key, value := range labels {
			hit := func(g glob.Glob) bool { return g.Match(key) }
			if slices.ContainsFunc(include, hit) && !slices.ContainsFunc(exclude, hit) {
				if out == nil {
					out = map[string]string{}
				}
				out[key] = value
			}
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

// Labeller gives the labels that events about an object carry. It is called for
// each event and must not wait for anybody.
type Labeller func(object corev1.ObjectReference) map[string]string

// Reasons gives the reasons of which events of a component, such as
// argocd-server, are made, as [Wanted] takes them. It is called for each event.
type Reasons func(component string) []string

// chooser hands on the events that are wanted, with their labels.
type chooser struct {
	inner   record.EventSink
	reasons *atomic.Pointer[Reasons]
	labels  *atomic.Pointer[Labeller]
}

func (c *chooser) wants(e *corev1.Event) bool {
	reasons := c.reasons.Load()
	return reasons == nil || Wanted((*reasons)(e.Source.Component), e.Reason)
}

var _ record.EventSink = (*chooser)(nil)

// Create hands on an event.
func (c *chooser) Create(e *corev1.Event) (*corev1.Event, error) {
	if !c.wants(e) {
		return e, nil
	}
	return c.inner.Create(c.labelled(e))
}

// Update hands on an event that is stored anew.
func (c *chooser) Update(e *corev1.Event) (*corev1.Event, error) {
	if !c.wants(e) {
		return e, nil
	}
	return c.inner.Update(c.labelled(e))
}

// Patch hands on a change of an event.
func (c *chooser) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	if !c.wants(e) {
		return e, nil
	}
	return c.inner.Patch(c.labelled(e), data)
}

func (c *chooser) labelled(e *corev1.Event) *corev1.Event {
	give := c.labels.Load()
	if give == nil {
		return e
	}
	labels := (*give)(e.InvolvedObject)
	if len(labels) == 0 {
		return e
	}
	out := e.DeepCopy()
	out.Labels = labels
	return out
}
