package application

import (
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/cluster"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

// premise is all that a comparison rests on beside the live objects.
type premise struct {
	digest, namespace  string
	conn               *cluster.Connection
	rules              *systemRules
	ignore             []v1alpha1.ResourceIgnoreDifferences
	options            []string
	compared, managers string
}

func (p *pass) premise(v *view, rules *systemRules) premise {
	return premise{
		digest: v.manifests.Digest, namespace: p.app.Spec.Destination.Namespace, conn: p.conn, rules: rules,
		ignore: p.app.Spec.IgnoreDifferences, options: p.specOptions(),
		compared: p.app.Annotations[v1alpha1.AnnotationCompareOptions], managers: p.app.Annotations[syncplan.AnnotationMigrationManager],
	}
}

func (a premise) equals(b premise) bool {
	return a.digest == b.digest && a.namespace == b.namespace && a.conn == b.conn && a.rules == b.rules &&
		slices.Equal(a.options, b.options) && a.compared == b.compared && a.managers == b.managers &&
		reflect.DeepEqual(a.ignore, b.ignore)
}

// found is what comparing one pair gave.
type found struct {
	live              *unstructured.Unstructured
	inSync, identical bool
	result            *diff.Result
}

// memory is the last comparison of an Application. As long as its premise
// holds, a pair whose live object has not changed need not be compared again.
type memory struct {
	premise premise
	pairs   map[object.Key]found
}

// slot is where a comparison is remembered: what is held is compared beside
// the target.
type slot struct {
	key  types.NamespacedName
	held bool
}

func (p *pass) slot() slot { return slot{p.key, p.aside} }

// recall puts what is known into the pairs and names those that are not known.
func (p *pass) recall(v *view, now premise) (unknown []*syncplan.Pair) {
	p.mu.Lock()
	m := p.compared[p.slot()]
	p.mu.Unlock()
	same := m.premise.equals(now)
	for i := range v.pairs {
		pair := &v.pairs[i]
		if pair.Target == nil || pair.Live == nil {
			continue
		}
		known, ok := m.pairs[pair.Key]
		if !ok || known.live != pair.Live || p.refresh != "" || !same {
			unknown = append(unknown, pair)
			continue
		}
		pair.InSync, pair.Identical = known.inSync, known.identical
		if known.result != nil {
			v.verdicts.results[pair.Key] = *known.result
		}
	}
	return unknown
}

// memorize remembers a comparison, without the pairs that could not be compared or
// for which the API server refused to answer: it may answer the next time.
func (p *pass) memorize(v *view, now premise) {
	m := memory{premise: now, pairs: make(map[object.Key]found, len(v.pairs))}
	for _, pair := range v.pairs {
		if pair.Target == nil || pair.Live == nil || v.verdicts.unknown[pair.Key] != "" || v.verdicts.memory[pair.Key] != "" {
			continue
		}
		f := found{live: pair.Live, inSync: pair.InSync, identical: pair.Identical}
		if r, ok := v.verdicts.results[pair.Key]; ok {
			f.result = &r
		}
		m.pairs[pair.Key] = f
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.compared[p.slot()] = m
}
