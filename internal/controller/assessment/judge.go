package assessment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/lua"
	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
)

// ConventionsKey of argocd-cm turns the judgement of kinds without a rule off
// with "false".
const ConventionsKey = "resource.health.conventions"

// Options of a Judge.
type Options struct {
	// Shipped are the rules of the product.
	Shipped health.Rules
	// Runner runs scripts of the settings and bounds them.
	Runner     lua.Runner
	Clock      clock.PassiveClock
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Judge assesses live objects; it may be used by many goroutines.
type Judge struct {
	o       Options
	metrics *metrics
	current atomic.Pointer[edition]
}

// edition is what one state of the settings says.
type edition struct {
	relevant map[string]string
	assessor health.Assessor
	memory   *memory
}

// New makes a Judge that knows the shipped rules only, until Reload.
func New(o Options) *Judge {
	j := &Judge{o: o, metrics: newMetrics(o.Registerer)}
	j.Reload(nil)
	return j
}

// Reload takes over argocd-cm. Keys that cannot be used are logged and left
// out. Reload is not meant to run twice at the same time.
func (j *Judge) Reload(config map[string]string) {
	relevant := map[string]string{}
	for key, value := range config {
		if key == ConventionsKey || strings.HasPrefix(key, customization.Prefix) {
			relevant[key] = value
		}
	}
	if old := j.current.Load(); old != nil && maps.Equal(old.relevant, relevant) {
		return
	}
	set, errs := customization.Parse(relevant)
	conventions := true
	if raw := relevant[ConventionsKey]; raw != "" {
		on, err := strconv.ParseBool(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("ConfigMap/argocd-cm: key %q is not a boolean: write \"true\" or \"false\"; using true", ConventionsKey))
			on = true
		}
		conventions = on
	}
	for _, err := range errs {
		j.o.Log.Warn("declaration not usable", "object", "ConfigMap/argocd-cm", "message", err.Error())
	}
	j.metrics.wrong.Set(float64(len(errs)))
	e := &edition{relevant: relevant, memory: newMemory(), assessor: health.Assessor{Conventions: conventions}}
	e.assessor.Custom = timed{lua.NewCustom(set, j.o.Runner), "custom", j}
	if j.o.Shipped != nil {
		e.assessor.Shipped = timed{j.o.Shipped, "shipped", j}
	}
	j.current.Store(e)
}

// Assess judges one live object; pods are the records of its pods.
func (j *Judge) Assess(ctx context.Context, o *unstructured.Unstructured, pods []object.Pod) health.Verdict {
	e := j.current.Load()
	if o.GetUID() == "" || o.GetResourceVersion() == "" || !e.assessor.Scripted(o) {
		return e.assessor.Assess(ctx, o, pods)
	}
	key := memoryKey{o.GetUID(), o.GetAPIVersion()}
	if v, ok := e.memory.recall(key, o.GetResourceVersion(), j.o.Clock.Now()); ok {
		return v
	}
	v := e.assessor.Assess(ctx, o, pods)
	if ctx.Err() == nil {
		e.memory.keep(key, o.GetResourceVersion(), v, j.o.Clock.Now())
	}
	return v
}

// Scripted says that a script judges the object, so that its whole status may
// count.
func (j *Judge) Scripted(o *unstructured.Unstructured) bool {
	return j.current.Load().assessor.Scripted(o)
}

// timed measures the scripts of rules.
type timed struct {
	health.Rules
	source string
	judge  *Judge
}

// Find wraps the script of a kind.
func (t timed) Find(group, kind string) health.Script {
	s := t.Rules.Find(group, kind)
	if s == nil {
		return nil
	}
	return measured{s, t, group + "/" + kind}
}

type measured struct {
	health.Script
	timed
	kind string
}

// Judge runs the script, measures it and logs why it failed.
func (m measured) Judge(ctx context.Context, o *unstructured.Unstructured) (health.Status, bool, error) {
	j := m.judge
	begin := j.o.Clock.Now()
	s, known, err := m.Script.Judge(ctx, o)
	j.metrics.seconds.WithLabelValues(m.source).Observe(j.o.Clock.Since(begin).Seconds())
	if err == nil || ctx.Err() != nil {
		return s, known, err
	}
	reason := "error"
	if limit := (*lua.LimitError)(nil); errors.As(err, &limit) {
		reason = "limit"
	}
	j.metrics.failures.WithLabelValues(m.source, reason).Inc()
	j.o.Log.Warn("health script failed", "reason", "HealthScriptFailed", "kind", m.kind, "namespace", o.GetNamespace(), "name", o.GetName(), "error", err.Error())
	return s, known, err
}
