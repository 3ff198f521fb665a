package application

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/health"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// labelled judges an object by its label health; none says nothing, error is
// an error.
type labelled struct{}

func (labelled) Scripted(*unstructured.Unstructured) bool { return false }

func (labelled) Assess(_ context.Context, o *unstructured.Unstructured, _ []object.Pod) health.Verdict {
	switch code := o.GetLabels()["health"]; code {
	case "":
		return health.Verdict{}
	case "error":
		err := errors.New(o.GetName() + " cannot be judged")
		return health.Verdict{Status: health.Status{Code: health.Unknown, Message: err.Error()}, Known: true, Err: err}
	default:
		return health.Verdict{Status: health.Status{Code: v1alpha1.HealthStatusCode(code)}, Known: true}
	}
}

// resource makes a pair of target and live object; health "gone" means that
// nothing is live.
func resource(group, kind, name, code string, annotations map[string]string) syncplan.Pair {
	make := func() *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": group + "/v1", "kind": kind}}
		u.SetName(name)
		u.SetUID(types.UID("uid-" + name))
		u.SetAnnotations(annotations)
		if code != "" {
			u.SetLabels(map[string]string{"health": code})
		}
		return u
	}
	p := syncplan.Pair{Key: object.Key{Group: group, Kind: kind, Name: name}, Target: make(), InSync: true}
	if code != "gone" {
		p.Live = make()
	}
	return p
}

// TestHealthOfAnApplication is the worst of what counts
// (spec/diff-health.md §9.2).
func TestHealthOfAnApplication(t *testing.T) {
	thing := func(name, code string) syncplan.Pair { return resource("a.b", "Thing", name, code, nil) }
	app := func(name, code string) syncplan.Pair {
		p := resource("argoproj.io", "Application", name, code, nil)
		p.Live.Object["status"] = map[string]any{"reconciledAt": "2026-01-02T12:00:00Z", "sync": map[string]any{"status": "OutOfSync"}}
		return p
	}
	with := func(p syncplan.Pair, value any, path ...string) syncplan.Pair {
		if err := unstructured.SetNestedField(p.Live.Object, value, path...); err != nil {
			t.Fatal(err)
		}
		return p
	}
	skipped := resource("a.b", "Thing", "skipped", "Degraded", map[string]string{"argocd.argoproj.io/hook": "Skip"})
	ignored := resource("a.b", "Thing", "ignored", "Degraded", map[string]string{v1alpha1.AnnotationIgnoreHealth: "true"})
	extra := thing("extra", "Degraded")
	extra.Target = nil
	for name, c := range map[string]struct {
		pairs     []syncplan.Pair
		want      v1alpha1.HealthStatusCode
		condition string
	}{
		"no resources":                  {nil, "Healthy", ""},
		"nothing is known":              {[]syncplan.Pair{thing("a", "")}, "Healthy", ""},
		"the worst":                     {[]syncplan.Pair{thing("a", "Suspended"), thing("b", "Degraded"), thing("c", "Progressing")}, "Degraded", ""},
		"suspended":                     {[]syncplan.Pair{thing("a", "Healthy"), thing("b", "Suspended")}, "Suspended", ""},
		"some are missing":              {[]syncplan.Pair{thing("a", "gone"), thing("b", "Healthy")}, "Healthy", ""},
		"all are missing":               {[]syncplan.Pair{thing("a", "gone"), thing("b", "gone")}, "Missing", ""},
		"an extra object counts":        {[]syncplan.Pair{thing("a", "Healthy"), extra}, "Degraded", ""},
		"skipped objects do not":        {[]syncplan.Pair{thing("a", "Healthy"), skipped}, "Healthy", ""},
		"ignored objects do not":        {[]syncplan.Pair{thing("a", "Healthy"), ignored}, "Healthy", ""},
		"a child Application counts":    {[]syncplan.Pair{app("child", "Progressing")}, "Progressing", ""},
		"unknown children do not":       {[]syncplan.Pair{app("child", "Unknown"), app("other", "Missing")}, "Healthy", ""},
		"a new child":                   {[]syncplan.Pair{with(app("child", "Missing"), "", "status", "reconciledAt")}, "Progressing", ""},
		"a child with an operation":     {[]syncplan.Pair{with(app("child", "Healthy"), "x", "operation", "sync", "revision")}, "Progressing", ""},
		"a child in an operation":       {[]syncplan.Pair{with(app("child", "Healthy"), "Running", "status", "operationState", "phase")}, "Progressing", ""},
		"a child about to be synced":    {[]syncplan.Pair{with(app("child", "Missing"), true, "spec", "syncPolicy", "automated", "enabled")}, "Progressing", ""},
		"a child nobody syncs":          {[]syncplan.Pair{with(app("child", "Missing"), false, "spec", "syncPolicy", "automated", "enabled")}, "Healthy", ""},
		"a child whose sync failed":     {[]syncplan.Pair{with(with(app("child", "Missing"), true, "spec", "syncPolicy", "automated", "enabled"), "Failed", "status", "operationState", "phase")}, "Healthy", ""},
		"a degraded child":              {[]syncplan.Pair{with(app("child", "Degraded"), "Running", "status", "operationState", "phase")}, "Degraded", ""},
		"nor the Application itself":    {[]syncplan.Pair{app("self", "Degraded")}, "Healthy", ""},
		"another kind may be unknown":   {[]syncplan.Pair{thing("a", "Unknown")}, "Unknown", ""},
		"an error":                      {[]syncplan.Pair{thing("a", "error"), thing("b", "Healthy")}, "Unknown", "error setting app health: a cannot be judged"},
		"errors are counted":            {[]syncplan.Pair{thing("a", "error"), thing("b", "error"), thing("c", "error")}, "Unknown", "error setting app health: a cannot be judged (and 2 more errors)"},
		"an error of an ignored object": {[]syncplan.Pair{resource("a.b", "Thing", "i", "error", map[string]string{v1alpha1.AnnotationIgnoreHealth: "true"})}, "Healthy", "error setting app health: i cannot be judged"},
	} {
		t.Run(name, func(t *testing.T) {
			self := &v1alpha1.Application{}
			self.UID = "uid-self"
			clock := testclock.NewFakeClock(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
			p := &pass{Controller: &Controller{Options: Options{Health: labelled{}, Clock: clock}}, app: self}
			p.summarize(t.Context(), &view{pairs: c.pairs, live: &cluster.Observation{}})
			if got := self.Status.Health.Status; got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			condition := ""
			for _, found := range self.Status.Conditions {
				if found.Type == v1alpha1.ConditionComparisonError {
					condition = found.Message
				}
			}
			if diff := cmp.Diff(c.condition, condition); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}
