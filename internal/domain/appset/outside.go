package appset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/destination"
)

// Outside answers the generators whose answer lies with somebody else. Each
// method gets a generator with all its strings filled, and gives a complete
// answer or an error: never the part of an answer that came before the error.
type Outside interface {
	// Repositories lists branches of repositories, filters applied.
	Repositories(*v1alpha1.SCMProviderGenerator) (Listing, error)
	// PullRequests lists pull requests, filters applied. A repository that the
	// host does not know is an error that is ErrNoRepository.
	PullRequests(*v1alpha1.PullRequestGenerator) ([]PullRequest, error)
	// Decisions reads what resources of the hub have decided on.
	Decisions(*v1alpha1.DuckTypeGenerator) (Decisions, error)
	// Service asks a service for parameters.
	Service(*v1alpha1.PluginGenerator) ([]map[string]any, error)
}

// ErrNoRepository says that a host knows no such repository, or hides it.
var ErrNoRepository = errors.New("the host knows no such repository, or the token may not see it")

// Repository is one branch of a repository on a host of source code.
type Repository struct {
	// Organization is the owner, group, project or account; Name is the
	// repository; ID is how the host itself calls it, a number or a text.
	Organization, Name string
	ID                 any
	// URL to clone it from.
	URL string
	// Branch and the commit it is at; empty where the host does not say.
	Branch, SHA string
	// Labels are topics, or what the host has in their place.
	Labels []string
}

// Listing is what a host lists.
type Listing struct {
	Repositories []Repository
	// Seen is how many repositories the host listed before any filter.
	Seen int
}

// PullRequest is a request to merge Branch into TargetBranch.
type PullRequest struct {
	Number                               int64
	Title, Branch, TargetBranch, HeadSHA string
	Author                               string
	Labels                               []string
}

// Decisions is what resources have decided on: each names a cluster under
// MatchKey.
type Decisions struct {
	MatchKey string
	Items    []map[string]any
}

var errNoOutside = errors.New("this evaluation reaches nothing outside: use list, clusters, git, matrix or merge")

// scm yields a parameter set for each branch (spec/applicationset.md §3.6).
func (e *evaluation) scm(g *v1alpha1.SCMProviderGenerator) ([]Params, error) {
	if e.Outside == nil {
		return nil, errNoOutside
	}
	listing, err := e.Outside.Repositories(g)
	if err != nil {
		return nil, fmt.Errorf("scmProvider: %w", err)
	}
	if listing.Seen == 0 {
		e.doubt("scmProvider: the host lists no repository at all, which is what a token without permission sees: check the token, or confirm")
	}
	repositories := listing.Repositories
	slices.SortStableFunc(repositories, func(a, b Repository) int {
		return strings.Compare(a.Organization+"/"+a.Name+" "+a.Branch, b.Organization+"/"+b.Name+" "+b.Branch)
	})
	var out []Params
	for _, r := range repositories {
		p := Params{Values: map[string]any{
			"organization": r.Organization, "repository": r.Name, "repository_id": r.ID, "url": r.URL,
			"branch": r.Branch, "branchNormalized": Normalize(r.Branch),
			"sha": r.SHA, "short_sha": head(r.SHA, 8), "short_sha_7": head(r.SHA, 7), "labels": strings.Join(r.Labels, ","),
		}}
		if err := e.addValues(&p, g.Values); err != nil {
			return nil, fmt.Errorf("scmProvider: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// pullRequests yields a parameter set for each (spec/applicationset.md §3.7).
func (e *evaluation) pullRequests(g *v1alpha1.PullRequestGenerator) ([]Params, error) {
	if e.Outside == nil {
		return nil, errNoOutside
	}
	requests, err := e.Outside.PullRequests(g)
	if err != nil {
		if g.ContinueOnRepoNotFoundError && errors.Is(err, ErrNoRepository) {
			return nil, nil
		}
		return nil, fmt.Errorf("pullRequest: %w", err)
	}
	slices.SortStableFunc(requests, func(a, b PullRequest) int { return int(a.Number - b.Number) })
	var out []Params
	for _, r := range requests {
		p := Params{Values: map[string]any{
			"number": strconv.FormatInt(r.Number, 10), "title": r.Title, "author": r.Author,
			"branch": r.Branch, "branch_slug": branchSlug(r.Branch), "target_branch": r.TargetBranch, "target_branch_slug": branchSlug(r.TargetBranch),
			"head_sha": r.HeadSHA, "head_short_sha": head(r.HeadSHA, 8), "head_short_sha_7": head(r.HeadSHA, 7),
		}}
		if e.goMode {
			list := make([]any, len(r.Labels))
			for i, l := range r.Labels {
				list[i] = l
			}
			p.Values["labels"] = list
		}
		if err := e.addValues(&p, g.Values); err != nil {
			return nil, fmt.Errorf("pullRequest: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// decisions yields the registered clusters that resources have decided on
// (spec/applicationset.md §3.8): an unknown one is left out, "values" are taken
// as they are.
func (e *evaluation) decisions(g *v1alpha1.DuckTypeGenerator) ([]Params, error) {
	if e.Outside == nil {
		return nil, errNoOutside
	}
	selected := len(g.LabelSelector.MatchLabels) > 0 || len(g.LabelSelector.MatchExpressions) > 0
	if (g.Name != "") == selected {
		return nil, errors.New("clusterDecisionResource: set exactly one of name and labelSelector")
	}
	decided, err := e.Outside.Decisions(g)
	if err != nil {
		return nil, fmt.Errorf("clusterDecisionResource: %w", err)
	}
	var out []Params
	for _, item := range decided.Items {
		name := text(item[decided.MatchKey])
		at := slices.IndexFunc(e.Clusters, func(c destination.Cluster) bool { return c.Name == name })
		if at < 0 || name == "" {
			e.lacks("clusterDecisionResource", name)
			continue
		}
		c := e.Clusters[at]
		p := Params{Labels: c.Labels, Values: map[string]any{"name": c.Name, "server": c.Server}}
		for k, v := range item {
			flat := map[string]any{}
			if flatten(k, v, flat); len(flat) == 1 {
				p.Values[k] = text(v)
				continue
			}
			p.Values[k] = fmt.Sprint(v)
		}
		e.plainValues(&p, g.Values)
		out = append(out, p)
	}
	return out, nil
}

// lacks notes that an answer misses a cluster whose registration cannot be
// used at present.
func (e *evaluation) lacks(generator, name string) {
	for _, c := range e.Unusable {
		if name != "" && c.Name == name {
			e.incompleteFor(generator, c.SecretName)
		}
	}
}

// plainValues adds "values" that are no templates.
func (e *evaluation) plainValues(p *Params, values map[string]string) {
	if len(values) == 0 {
		return
	}
	if e.goMode {
		p.Values["values"] = anyMap(values)
		return
	}
	for k, v := range values {
		p.Values["values."+k] = v
	}
}

// service yields what a plugin answers (spec/applicationset.md §3.9).
func (e *evaluation) service(g *v1alpha1.PluginGenerator) ([]Params, error) {
	if e.Outside == nil {
		return nil, errNoOutside
	}
	objects, err := e.Outside.Service(g)
	if err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	input := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(g.Input.Parameters)) {
		var v any
		if err := json.Unmarshal(g.Input.Parameters[k].Raw, &v); err != nil {
			return nil, fmt.Errorf("plugin.input.parameters.%s: %w", k, err)
		}
		input[k] = v
	}
	var out []Params
	for _, answered := range objects {
		object, _ := cloned(answered).(map[string]any) // the answer may be used again
		p := Params{Values: map[string]any{}}
		if given, ok := object["labels"].(map[string]any); ok {
			p.Labels = scalarLabels(given)
		}
		if e.goMode {
			maps.Copy(p.Values, object)
		} else {
			flatten("", object, p.Values)
		}
		p.Values["generator"] = map[string]any{"input": map[string]any{"parameters": input}}
		if err := e.addValues(&p, g.Values); err != nil {
			return nil, fmt.Errorf("plugin: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// doubt notes an answer that is complete by the letter and looks like a mistake
// of its source: what it would take away is kept.
func (e *evaluation) doubt(why string) {
	if !slices.Contains(*e.doubts, why) {
		*e.doubts = append(*e.doubts, why)
	}
}

func (e *evaluation) incompleteFor(generator, secret string) {
	why := fmt.Sprintf("%s: Secret %s registers a cluster that cannot be used: see its problem in the log, correct or delete it", generator, secret)
	if !slices.Contains(*e.incomplete, why) {
		*e.incomplete = append(*e.incomplete, why)
	}
}

// Selector is the label selector of a generator of decisions.
func Selector(g *v1alpha1.DuckTypeGenerator) (labels.Selector, error) {
	s, err := metav1.LabelSelectorAsSelector(&g.LabelSelector)
	if err != nil {
		return nil, fmt.Errorf("labelSelector: %w", err)
	}
	return s, nil
}

// head is the beginning of s, at most n bytes.
func head(s string, n int) string { return s[:min(n, len(s))] }
