package advance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// recorded is a registry that remembers what is registered.
type recorded struct {
	prometheus.Registerer
	all []prometheus.Collector
}

func (r *recorded) MustRegister(cs ...prometheus.Collector) { r.all = append(r.all, cs...) }

// TestMetricNames: every metric that spec/progressive-sync.md §7.8 names is
// there, with the labels that dashboards and rules go by.
func TestMetricNames(t *testing.T) {
	t.Parallel()
	r := &recorded{}
	newMetrics(r, true)
	found := map[string]string{}
	for _, c := range r.all {
		descriptions := make(chan *prometheus.Desc, 10)
		c.Describe(descriptions)
		close(descriptions)
		for d := range descriptions {
			text := d.String()
			_, name, _ := strings.Cut(text, `fqName: "`)
			name, _, _ = strings.Cut(name, `"`)
			_, labels, _ := strings.Cut(text, "variableLabels: {")
			labels, _, _ = strings.Cut(labels, "}")
			found[name] = labels
		}
	}
	for line := range strings.Lines(`rollout_info namespace,name,rollout_id,phase
rollout_current_step namespace,name
rollout_step_applications namespace,name,step,state
rollout_step_duration_seconds namespace,name,step
rollout_duration_seconds namespace,name,result
rollouts_total namespace,name,result
rollout_paused namespace,name,source
rollout_halted namespace,name,reason
rollout_stalled_seconds namespace,name
rollout_operations_total namespace,name,result
rollout_rollbacks_total namespace,name
rollout_analysis_total namespace,name,metric,result
rollout_status_bytes namespace,name
rollout_status_conflicts_total
rollout_advance_seconds
strategy_ignored namespace,name,reason
progressive_syncs_enabled
`) {
		name, labels, _ := strings.Cut(strings.TrimSpace(line), " ")
		got, there := found["argocd_appset_"+name]
		if !there || got != labels {
			t.Errorf("argocd_appset_%s{%s}: %s", name, labels, map[bool]string{true: fmt.Sprintf("has the labels %q", got), false: "is missing"}[there])
		}
	}
}
