package appset

import (
	"time"

	"github.com/sluice-cd/sluice/api/v1alpha1"
)

// Intervals at which generators are asked again without cause when they say
// nothing (spec/applicationset.md §9).
const (
	DefaultInterval = 3 * time.Minute
	HostInterval    = 30 * time.Minute
)

// Interval is the smallest interval of the set's generators, at any depth; zero
// when none is asked again without cause. The fallback is the installation's
// for git and clusterDecisionResource.
func Interval(set *v1alpha1.ApplicationSet, fallback time.Duration) time.Duration {
	shortest := time.Duration(0)
	for _, g := range set.Spec.Generators {
		visit(generator{ApplicationSetGenerator: g}, func(g generator) { shortest = shorter(shortest, g.interval(fallback)) })
	}
	return shortest
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// interval of the generator itself; zero is never.
func (g generator) interval(fallback time.Duration) time.Duration {
	shortest := time.Duration(0)
	add := func(given *int64, otherwise time.Duration) { shortest = shorter(shortest, Every(given, otherwise)) }
	if g.Git != nil {
		add(g.Git.RequeueAfterSeconds, fallback)
	}
	if g.ClusterDecisionResource != nil {
		add(g.ClusterDecisionResource.RequeueAfterSeconds, fallback)
	}
	if g.SCMProvider != nil {
		add(g.SCMProvider.RequeueAfterSeconds, HostInterval)
	}
	if g.PullRequest != nil {
		add(g.PullRequest.RequeueAfterSeconds, HostInterval)
	}
	if g.Plugin != nil {
		add(g.Plugin.RequeueAfterSeconds, HostInterval)
	}
	return shortest
}

// maxInterval keeps seconds within what a duration holds.
const maxInterval = 8760 * time.Hour

// Every is the interval that requeueAfterSeconds asks for: zero is never, a
// negative one counts as absent.
func Every(given *int64, otherwise time.Duration) time.Duration {
	if given == nil || *given < 0 {
		return otherwise
	}
	if *given > int64(maxInterval/time.Second) {
		return maxInterval
	}
	return time.Duration(*given) * time.Second
}

// visit calls f for the generator and all below it. What cannot be decoded is
// left out: evaluating it says why.
func visit(g generator, f func(generator)) {
	f(g)
	var children []v1alpha1.NestedGenerator
	if g.Matrix != nil {
		children = append(children, g.Matrix.Generators...)
	}
	if g.Merge != nil {
		children = append(children, g.Merge.Generators...)
	}
	for _, n := range children {
		if child, err := nested(n, g.level+1); err == nil {
			visit(child, f)
		}
	}
}
