package application

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// systemRules is what argocd-cm says about comparison, compiled once for each
// state of the settings.
type systemRules struct {
	snapshot *settings.Snapshot
	parsed   diff.Settings
	rules    diff.Rules
	updates  diff.Updates
	compiler jq.Compiler
	filter   kindfilter.Filter
	respect  kindfilter.Respect
	tracking object.Tracking
}

// jqTimeoutKey of argocd-cmd-params-cm bounds one jq evaluation.
const jqTimeoutKey = "controller.ignore.normalizer.jq.timeout"

func (c *Controller) systemRules() *systemRules {
	snapshot := c.Settings.Snapshot()
	if known := c.rules.Load(); known != nil && known.snapshot == snapshot {
		return known
	}
	s := &systemRules{snapshot: snapshot, parsed: diff.ParseSettings(snapshot.Config), compiler: jq.Compiler{Call: c.Queries}, tracking: object.TrackingOf(snapshot.Config)}
	var problems []error
	s.filter, problems = kindfilter.Parse(snapshot.Config)
	s.parsed.Problems = append(s.parsed.Problems, problems...)
	var problem error
	if s.respect, problem = kindfilter.ParseRespect(snapshot.Config); problem != nil {
		s.parsed.Problems = append(s.parsed.Problems, problem)
	}
	if raw := snapshot.Params[jqTimeoutKey]; raw != "" && raw != "0" {
		limit, err := time.ParseDuration(raw)
		if err != nil || limit <= 0 {
			s.parsed.Problems = append(s.parsed.Problems, fmt.Errorf("ConfigMap/argocd-cmd-params-cm key %q is not a duration like \"1s\": using %s", jqTimeoutKey, jq.DefaultTimeout))
		}
		s.compiler.Timeout = limit
	}
	s.rules = diff.Compile(s.parsed.Rules, s.compiler.Compile)
	s.updates = diff.Updates{Off: s.parsed.AllUpdates, Rules: diff.Compile(s.parsed.Updates, s.compiler.Compile), Options: s.parsed.Compare}
	c.rules.Store(s)
	return s
}

// ownRules are the compiled rules of one Application.
type ownRules struct {
	system  *systemRules
	written []v1alpha1.ResourceIgnoreDifferences
	rules   diff.Rules
}

// verdicts is what comparison found.
type verdicts struct {
	guard sync.Mutex
	// results by object, only those for which something had to be asked.
	results map[object.Key]diff.Result
	// unknown says why an object could not be compared.
	unknown map[object.Key]string
	// memory lists objects compared without the API server, with the reason.
	memory map[object.Key]string
	// problems of the settings.
	problems []error
}

// shownObjects bounds the objects that one condition names.
const shownObjects = 5

func (v *verdicts) conditions() []v1alpha1.ApplicationCondition {
	var out []v1alpha1.ApplicationCondition
	if text := listed(v.unknown); text != "" {
		out = append(out, condition(v1alpha1.ConditionComparisonError, "Failed to compare desired state to live state: "+text))
	}
	if text := listed(v.memory); text != "" {
		out = append(out, condition(v1alpha1.ConditionComparisonWarning, "compared in memory, without defaults and webhooks, for the API server refused a dry run: "+text))
	}
	for _, p := range v.problems {
		out = append(out, condition(v1alpha1.ConditionComparisonWarning, p.Error()))
	}
	return out
}

// listed names the first few objects with their reasons.
func listed(reasons map[object.Key]string) string {
	var texts []string
	for k, why := range reasons {
		texts = append(texts, k.String()+": "+why)
	}
	slices.Sort(texts)
	if more := len(texts) - shownObjects; more > 0 {
		texts = append(texts[:shownObjects], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// comparisons bounds the dry runs of one Application at a time.
const comparisons = 8

// judgement is the comparison of one Application.
type judgement struct {
	*pass
	rules   diff.Rules
	options diff.Options
	found   *verdicts
	// unasked says that the Application wants its differences computed without
	// the API server (compare option ServerSideDiff=false).
	unasked bool
}

func (p *pass) judgement(found *verdicts) judgement {
	system := p.systemRules()
	j := judgement{pass: p, options: system.parsed.Compare, found: found}
	j.rules = append(slices.Clone(system.rules), p.ownRules(system)...)
	wanted := commaList(p.app.Annotations[v1alpha1.AnnotationCompareOptions])
	j.options.Mutations = slices.Contains(wanted, "IncludeMutationWebhook=true")
	j.unasked = unasked(wanted, system.snapshot.Params[serverSideDiffKey])
	return j
}

// serverSideDiffKey of argocd-cmd-params-cm chooses for Applications that do not
// say it themselves.
const serverSideDiffKey = "controller.diff.server.side"

// unasked says that differences are computed without the API server: the
// Application wants that, or everybody unless the Application does not
// (spec/diff-health.md §3).
func unasked(wanted []string, everybody string) bool {
	return slices.Contains(wanted, "ServerSideDiff=false") || everybody == "false" && !slices.Contains(wanted, "ServerSideDiff=true")
}

// ownRules are those of the Application, compiled once.
func (p *pass) ownRules(system *systemRules) diff.Rules {
	if len(p.app.Spec.IgnoreDifferences) == 0 {
		return nil
	}
	p.mu.Lock()
	known, ok := p.own[p.key]
	p.mu.Unlock()
	if ok && known.system == system && reflect.DeepEqual(known.written, p.app.Spec.IgnoreDifferences) {
		return known.rules
	}
	next := ownRules{system, p.app.Spec.IgnoreDifferences, diff.Compile(diff.OfApplication(p.app.Spec.IgnoreDifferences), system.compiler.Compile)}
	p.mu.Lock()
	p.own[p.key] = next
	p.mu.Unlock()
	return next.rules
}

func commaList(text string) []string {
	var out []string
	for _, s := range strings.Split(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// judge decides for each pair whether it is in sync.
func (p *pass) judge(ctx context.Context, v *view) error {
	v.verdicts.results, v.verdicts.unknown, v.verdicts.memory = map[object.Key]diff.Result{}, map[object.Key]string{}, map[object.Key]string{}
	maps.Copy(v.verdicts.unknown, v.unseen)
	system := p.systemRules()
	v.verdicts.problems = system.parsed.Problems
	now := p.premise(v, system)
	j := p.judgement(&v.verdicts)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(comparisons)
	for _, pair := range p.recall(v, now) {
		ignore := j.rules.For(pair.Key)
		if diff.InSync(ctx, pair.Target, pair.Live, ignore, j.options) {
			pair.InSync = true
			pair.Identical = ignore.Empty()
			continue
		}
		group.Go(func() error { return j.compared(gctx, pair, ignore) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	p.memorize(v, now)
	return nil
}

// compared is compare of an object that may be anything.
func (j judgement) compared(ctx context.Context, pair *syncplan.Pair, ignore diff.Ignore) error {
	var broken error
	err := func() error {
		defer unexpected(j.log, "the comparison of "+pair.Key.String(), &broken)
		return j.compare(ctx, pair, ignore)
	}()
	if broken != nil {
		pair.InSync, pair.Identical = false, false
		j.note(pair.Key, diff.Result{}, broken.Error(), "")
		return nil
	}
	return err
}

// compare asks the API server, or computes when that refuses to answer.
func (j judgement) compare(ctx context.Context, pair *syncplan.Pair, ignore diff.Ignore) error {
	live, err := j.conn.InVersion(ctx, pair.Live, pair.Target.GroupVersionKind())
	if cluster.Unreachable(err) {
		return err
	}
	if err != nil {
		j.note(pair.Key, diff.Result{}, "not readable in the version of Git: "+err.Error(), "")
		return nil
	}
	same := *pair
	migrates := false
	same.Target, same.Live, migrates = j.systemRules().tracking.Migrate(pair.Target, live)
	if same.Live != pair.Live && diff.InSync(ctx, same.Target, same.Live, ignore, j.options) {
		pair.InSync, pair.Identical = true, ignore.Empty() && !migrates
		return nil
	}
	err = j.ask(ctx, &same, ignore)
	pair.InSync, pair.Identical = same.InSync, same.Identical && !migrates
	return err
}

// ask compares a pair whose sides have the same version.
func (j judgement) ask(ctx context.Context, pair *syncplan.Pair, ignore diff.Ignore) error {
	if err := ignore.Broken(); err != nil {
		j.note(pair.Key, diff.Result{}, err.Error(), "")
		return nil
	}
	manner := syncplan.MannerOf(pair.Target, pair.Live, j.specOptions(), false).Comparison()
	manner.Managers = j.migrationManagers()
	if j.unasked {
		return j.inMemory(ctx, pair, manner.Mode, ignore)
	}
	predicted, refusal := j.conn.Predict(ctx, pair.Target, manner)
	if cluster.Unreachable(refusal) {
		return refusal
	}
	var result diff.Result
	var err error
	if refusal != nil {
		predicted, err = j.foresee(ctx, pair, manner.Mode)
	}
	if err == nil {
		result, err = diff.Compare(ctx, diff.Input{Desired: pair.Target, Live: pair.Live, Predicted: predicted, Ignore: ignore, Options: j.options})
	}
	unknown, memory := weigh(pair.Target, refusal, err, result.Modified)
	pair.InSync = unknown == "" && !result.Modified
	pair.Identical = pair.InSync && refusal == nil && ignore.Empty() && diff.Adopted(pair.Live)
	j.note(pair.Key, result, unknown, memory)
	return nil
}

// inMemory compares with what an apply in this manner would make of the live
// object, without asking the API server for that.
func (j judgement) inMemory(ctx context.Context, pair *syncplan.Pair, mode syncplan.Mode, ignore diff.Ignore) error {
	predicted, err := j.foresee(ctx, pair, mode)
	if cluster.Unreachable(err) {
		return err
	}
	var result diff.Result
	if err == nil {
		result, err = diff.Compare(ctx, diff.Input{Desired: pair.Target, Live: pair.Live, Predicted: predicted, Ignore: ignore, Options: j.options})
	}
	unknown := ""
	if err != nil {
		unknown = cluster.Brief(pair.Target, err)
	}
	pair.InSync = unknown == "" && !result.Modified
	j.note(pair.Key, result, unknown, "")
	return nil
}

// weigh says what a comparison is worth after the API server refused to
// predict (refusal) or the comparison itself failed: nothing, with the reason
// in unknown, or less than usual, with the reason in memory. That the server
// refuses a change is no doubt that there is one: the sync will say why.
func weigh(target *unstructured.Unstructured, refusal, failure error, modified bool) (unknown, memory string) {
	switch {
	case refusal != nil && failure != nil:
		return fmt.Sprintf("dry run refused: %s; no prediction in memory: %s", cluster.Brief(target, refusal), cluster.Brief(target, failure)), ""
	case failure != nil:
		return failure.Error(), ""
	case refusal == nil:
		return "", ""
	case cannotAsk(refusal):
		return "", cluster.Brief(target, refusal)
	case !modified:
		return "the API server refuses what Git asks for: " + cluster.Brief(target, refusal), ""
	}
	return "", ""
}

// foresee computes what an apply would make of the live object: a server-side
// one by the cluster's schema (spec/diff-health.md §3.2), a client-side one from
// what was applied last (§3.1).
func (j judgement) foresee(ctx context.Context, pair *syncplan.Pair, mode syncplan.Mode) (*unstructured.Unstructured, error) {
	if mode != syncplan.ServerSide {
		return diff.ThreeWay(pair.Target, pair.Live, cluster.BuiltIn(pair.Target.GroupVersionKind()))
	}
	known, err := j.conn.Schema(ctx, pair.Target.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	return diff.Project(pair.Target, pair.Live, known)
}

func (j judgement) note(key object.Key, r diff.Result, unknown, memory string) {
	j.found.guard.Lock()
	defer j.found.guard.Unlock()
	j.found.results[key] = r
	if unknown != "" {
		j.found.unknown[key] = unknown
	}
	if memory != "" {
		j.found.memory[key] = memory
	}
}

// cannotAsk says that the refusal is about asking, not about the object: no
// right to write, or a webhook that knows no dry run.
func cannotAsk(err error) bool {
	return apierrors.IsForbidden(err) && !strings.Contains(err.Error(), "denied the request") || strings.Contains(err.Error(), "does not support dry run")
}

// overall adds to what the resources say what else decides the status.
func (p *pass) overall(v *view, code v1alpha1.SyncStatusCode) v1alpha1.SyncStatusCode {
	switch {
	case len(v.verdicts.unknown) > 0:
		p.soon(comparisonPause)
		return v1alpha1.SyncStatusUnknown
	case code == v1alpha1.SyncStatusSynced && p.namespaceMetadataChanged():
		return v1alpha1.SyncStatusOutOfSync
	}
	return code
}

// asksConfirmation says that to delete the live object needs an approval.
func (p *pass) asksConfirmation(pair syncplan.Pair) bool {
	return pair.Live != nil && (syncplan.AsksConfirmation("Prune", pair.Live, p.specOptions()) || syncplan.AsksConfirmation("Delete", pair.Live, p.specOptions()))
}

// comparisonPause is the time after which a failed comparison is repeated.
const comparisonPause = 30 * time.Second

func (p *pass) specOptions() []string {
	if p.app.Spec.SyncPolicy == nil {
		return nil
	}
	return p.app.Spec.SyncPolicy.SyncOptions
}

func (p *pass) migrationManagers() []string {
	return commaList(p.app.Annotations[syncplan.AnnotationMigrationManager])
}
