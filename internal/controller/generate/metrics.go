package generate

import (
	"context"
	"regexp"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

type metrics struct {
	seconds                          *prometheus.HistogramVec
	guardedDeletions, stuckDeletions *prometheus.GaugeVec
	inventory                        *inventory
}

func newMetrics(r prometheus.Registerer, shown []string) metrics {
	labels := []string{"namespace", "name"}
	m := metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argocd_appset_reconcile", Help: "Duration of evaluations in seconds.", Buckets: []float64{.25, .5, 1, 2, 4, 8, 16},
		}, labels),
		guardedDeletions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_appset_guarded_deletions", Help: "Applications that are no longer generated and kept until a person confirms.",
		}, labels),
		stuckDeletions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argocd_appset_stuck_deletions", Help: "Applications of a set being deleted that take more than two minutes to go.",
		}, labels),
		inventory: newInventory(shown),
	}
	r.MustRegister(m.seconds, m.guardedDeletions, m.stuckDeletions)
	if len(shown) > 0 {
		r.MustRegister(m.inventory)
	}
	return m
}

func (m metrics) forget(key types.NamespacedName) {
	m.seconds.DeleteLabelValues(key.Namespace, key.Name)
	m.guardedDeletions.DeleteLabelValues(key.Namespace, key.Name)
	m.stuckDeletions.DeleteLabelValues(key.Namespace, key.Name)
}

// inventory shows labels of the sets as they are at the moment somebody looks
// (spec/observability.md §2.4). What else is known of a set its loop shows.
type inventory struct {
	labels *prometheus.Desc
	shown  []string

	mu  sync.Mutex
	all func() []v1alpha1.ApplicationSet
}

var notLabel = regexp.MustCompile(`[^a-zA-Z0-9_]`)

func newInventory(shown []string) *inventory {
	i := &inventory{shown: shown}
	if len(shown) > 0 {
		names := []string{"namespace", "name"}
		for _, label := range shown {
			names = append(names, "label_"+notLabel.ReplaceAllString(label, "_"))
		}
		i.labels = prometheus.NewDesc("argocd_appset_labels", "Labels of the sets.", names, nil)
	}
	return i
}

// follow shows the sets that the controller looks at, until ctx ends.
func (i *inventory) follow(ctx context.Context, c *Controller) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = func() []v1alpha1.ApplicationSet {
		var list v1alpha1.ApplicationSetList
		if err := c.Reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return nil
		}
		rules := c.rules()
		return slices.DeleteFunc(list.Items, func(s v1alpha1.ApplicationSet) bool { return !rules.Watches(s.Namespace, c.Namespace) })
	}
}

// Describe names the metric; none when no label is shown.
func (i *inventory) Describe(to chan<- *prometheus.Desc) {
	if i.labels != nil {
		to <- i.labels
	}
}

// Collect reads the sets.
func (i *inventory) Collect(to chan<- prometheus.Metric) {
	i.mu.Lock()
	all := i.all
	i.mu.Unlock()
	if all == nil || i.labels == nil {
		return
	}
	for _, set := range all() {
		values := []string{set.Namespace, set.Name}
		for _, label := range i.shown {
			values = append(values, set.Labels[label])
		}
		to <- prometheus.MustNewConstMetric(i.labels, prometheus.GaugeValue, 1, values...)
	}
}
