package generate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/parameters"
	"github.com/sluice-cd/sluice/internal/adapter/scm"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Hosts asks hosts of source code; *scm.Client is the real one.
type Hosts interface {
	Repositories(context.Context, scm.Access, *v1alpha1.SCMProviderGenerator) (appset.Listing, error)
	PullRequests(context.Context, scm.Access, *v1alpha1.PullRequestGenerator) ([]appset.PullRequest, error)
	Forget(namespace, name string)
}

// Service asks services of plugin generators.
type Service func(context.Context, parameters.Question) ([]map[string]any, error)

// Resources lists what a resource of the control plane's namespace has decided
// on: whole objects.
type Resources func(ctx context.Context, resource schema.GroupVersionResource, name string, selector labels.Selector) ([]map[string]any, error)

// Object is what of a Secret or config map is read.
type Object struct {
	Labels map[string]string
	Data   map[string][]byte
}

// outside answers the generators of one evaluation.
type outside struct {
	*Evaluator
	ctx   context.Context //nolint:containedctx // of one evaluation, which it does not outlive
	rules Rules
	set   *v1alpha1.ApplicationSet
	// strict is asked for by who evaluates: a preview for a person.
	strict, fresh bool
	// wake is when the first of the answers wants to be asked for again.
	wake time.Duration
	used map[string]bool
	own  map[string]answer
}

var _ appset.Outside = (*outside)(nil)

// answer is what was answered to a question and when.
type answer struct {
	value any
	at    time.Time
}

// maxKept is how long an answer is used that nobody wants to ask for again.
const maxKept = 30 * time.Minute

// remembered gives the answer to a question, from memory while it is young
// enough. Only whole answers are remembered.
func remembered[T any](o *outside, question any, requeue *int64, ask func() (T, error)) (T, error) {
	var zero T
	raw, err := json.Marshal(question)
	if err != nil {
		return zero, fmt.Errorf("encode: %w", err)
	}
	key := fmt.Sprintf("%T %s", question, raw)
	every := appset.Every(requeue, appset.HostInterval)
	keep := every
	if every == 0 {
		keep = maxKept
	}
	set := types.NamespacedName{Namespace: o.set.Namespace, Name: o.set.Name}
	known, ok := o.recall(set, key)
	again := o.used[key]
	o.used[key] = true
	age := o.Clock.Since(known.at)
	if value, fits := known.value.(T); ok && fits && (again || age < keep && !o.fresh) {
		o.due(every, age)
		return value, nil
	}
	value, err := ask()
	if err != nil {
		return zero, err
	}
	o.remember(set, key, answer{value: value, at: o.Clock.Now()})
	o.due(every, 0)
	return value, nil
}

func (o *outside) due(every, age time.Duration) {
	if every == 0 {
		return
	}
	rest := max(every-age, time.Second)
	if o.wake == 0 || rest < o.wake {
		o.wake = rest
	}
}

// recall looks in the memory of the set. What a person asks for strictly is
// answered anew, and remembered for this evaluation alone.
func (o *outside) recall(set types.NamespacedName, key string) (answer, bool) {
	if o.strict {
		a, ok := o.own[key]
		return a, ok
	}
	o.known.Lock()
	defer o.known.Unlock()
	a, ok := o.answers[set][key]
	return a, ok
}

func (o *outside) remember(set types.NamespacedName, key string, a answer) {
	if o.strict {
		o.own[key] = a
		return
	}
	o.known.Lock()
	defer o.known.Unlock()
	if o.answers[set] == nil {
		o.answers[set] = map[string]answer{}
	}
	o.answers[set][key] = a
}

// tidy drops answers to questions that a complete evaluation no longer asks.
func (o *outside) tidy() {
	if o.strict {
		return
	}
	o.known.Lock()
	defer o.known.Unlock()
	of := o.answers[types.NamespacedName{Namespace: o.set.Namespace, Name: o.set.Name}]
	for key := range of {
		if !o.used[key] {
			delete(of, key)
		}
	}
}

// Repositories lists branches of repositories.
func (o *outside) Repositories(g *v1alpha1.SCMProviderGenerator) (appset.Listing, error) {
	if err := o.rules.permitSCM(g); err != nil {
		return appset.Listing{}, err
	}
	asked := g.DeepCopy()
	asked.Template, asked.Values, asked.RequeueAfterSeconds = nil, nil, nil
	return remembered(o, asked, g.RequeueAfterSeconds, func() (appset.Listing, error) { return o.Hosts.Repositories(o.ctx, o.access(), asked) })
}

// PullRequests lists pull requests.
func (o *outside) PullRequests(g *v1alpha1.PullRequestGenerator) ([]appset.PullRequest, error) {
	if err := o.rules.permitPullRequests(g); err != nil {
		return nil, err
	}
	asked := g.DeepCopy()
	asked.Template, asked.Values, asked.RequeueAfterSeconds, asked.ContinueOnRepoNotFoundError = nil, nil, nil, false
	got, err := remembered(o, asked, g.RequeueAfterSeconds, func() ([]appset.PullRequest, error) { return o.Hosts.PullRequests(o.ctx, o.access(), asked) })
	if err != nil { // also when it is no failure: the repository may come
		o.due(appset.Every(g.RequeueAfterSeconds, appset.HostInterval), 0)
	}
	return slices.Clone(got), err
}

// Decisions reads what resources have decided on (spec/applicationset.md §3.8).
func (o *outside) Decisions(g *v1alpha1.DuckTypeGenerator) (appset.Decisions, error) {
	config, err := o.ConfigMap(o.ctx, o.Namespace, g.ConfigMapRef)
	if err != nil {
		return appset.Decisions{}, fmt.Errorf("configMapRef: %w", err)
	}
	text := func(key string) string { return strings.TrimSpace(string(config.Data[key])) }
	group, version, ok := strings.Cut(text("apiVersion"), "/")
	if !ok || group == "" || version == "" || text("kind") == "" {
		return appset.Decisions{}, fmt.Errorf("ConfigMap %s: apiVersion must be group/version, and kind the plural name of the resource", g.ConfigMapRef)
	}
	out := appset.Decisions{MatchKey: text("matchKey")}
	selector, err := appset.Selector(g)
	if err != nil {
		return out, err
	}
	if g.Name != "" {
		selector = labels.Everything()
	}
	found, err := o.Resources(o.ctx, schema.GroupVersionResource{Group: group, Version: version, Resource: text("kind")}, g.Name, selector)
	if err != nil {
		return out, err
	}
	if len(found) == 0 {
		return out, fmt.Errorf("no %s.%s is found: correct name or labelSelector", text("kind"), group)
	}
	if out.MatchKey == "" {
		return out, nil
	}
	key := text("statusListKey")
	if key == "" {
		key = "clusters"
	}
	for _, object := range found {
		status, _ := object["status"].(map[string]any)
		if len(status) == 0 {
			continue
		}
		list, ok := status[key].([]any)
		if !ok && status[key] != nil {
			return out, fmt.Errorf("status.%s of a %s is no list: correct statusListKey of ConfigMap %s", key, text("kind"), g.ConfigMapRef)
		}
		for _, item := range list {
			if decision, ok := item.(map[string]any); ok {
				out.Items = append(out.Items, decision)
			}
		}
	}
	return out, nil
}

// argoSecret holds what keys without a name of a Secret mean.
const argoSecret = "argocd-secret"

// Service asks a service (spec/applicationset.md §3.9).
func (o *outside) Service(g *v1alpha1.PluginGenerator) ([]map[string]any, error) {
	asked := g.DeepCopy()
	asked.Template, asked.Values, asked.RequeueAfterSeconds = nil, nil, nil
	return remembered(o, asked, g.RequeueAfterSeconds, func() ([]map[string]any, error) { return o.service(asked) })
}

func (o *outside) service(g *v1alpha1.PluginGenerator) ([]map[string]any, error) {
	config, err := o.ConfigMap(o.ctx, o.Namespace, g.ConfigMapRef.Name)
	if err != nil {
		return nil, fmt.Errorf("configMapRef: %w", err)
	}
	text := func(key string) string { return strings.TrimSpace(string(config.Data[key])) }
	at := "ConfigMap " + g.ConfigMapRef.Name + ": "
	reference, ok := strings.CutPrefix(text("token"), "$")
	if !ok || reference == "" {
		return nil, errors.New(at + "token must name a key of a Secret: $key, or $secret:key")
	}
	name, key, named := strings.Cut(reference, ":")
	if !named {
		name, key = argoSecret, reference
	}
	secret, err := o.Secret(o.ctx, o.Namespace, name)
	if err != nil {
		return nil, fmt.Errorf("%stoken: %w", at, err)
	}
	token := strings.TrimSpace(string(secret.Data[key]))
	if token == "" {
		return nil, fmt.Errorf("%stoken: Secret %s has no key %s", at, name, key)
	}
	q := parameters.Question{BaseURL: text("baseUrl"), Token: repo.Secret(token), ApplicationSet: o.set.Name, Parameters: map[string]json.RawMessage{}}
	if given := text("requestTimeout"); given != "" {
		seconds, err := strconv.Atoi(given)
		if err != nil || seconds <= 0 || seconds > 600 {
			return nil, errors.New(at + "requestTimeout is no number of seconds from 1 to 600")
		}
		q.Timeout = time.Duration(seconds) * time.Second
	}
	for k, p := range g.Input.Parameters {
		q.Parameters[k] = json.RawMessage(p.Raw)
	}
	return o.Plugin(o.ctx, q)
}
