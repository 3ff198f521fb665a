package application

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/domain/syncplan"
)

func TestPremise(t *testing.T) {
	base := func() premise {
		return premise{digest: "d", namespace: "n", options: []string{"a"}, ignore: []v1alpha1.ResourceIgnoreDifferences{{Kind: "X"}}, compared: "c", managers: "m"}
	}
	if !base().equals(base()) {
		t.Error("equal premises differ")
	}
	for name, change := range map[string]func(*premise){
		"digest": func(p *premise) { p.digest = "" }, "namespace": func(p *premise) { p.namespace = "" },
		"rules": func(p *premise) { p.rules = &systemRules{} }, "options": func(p *premise) { p.options = nil },
		"ignore": func(p *premise) { p.ignore[0].Kind = "Y" }, "compared": func(p *premise) { p.compared = "" },
		"managers": func(p *premise) { p.managers = "" },
	} {
		other := base()
		change(&other)
		if base().equals(other) {
			t.Errorf("%s makes no difference", name)
		}
	}
}

// TestComparisonsAreRemembered until the live object, the premise or a refresh
// asks for another one; what could not be compared is not remembered.
func TestComparisonsAreRemembered(t *testing.T) {
	rules := &systemRules{}
	c := &Controller{compared: map[slot]memory{}}
	fresh := func() (*pass, *view) {
		p := windowedPass(friday(16))
		c.Options = p.Options
		p.Controller, p.key = c, types.NamespacedName{Name: "web"}
		v := &view{manifests: &manifest.Manifests{Digest: "d"}}
		v.verdicts.results, v.verdicts.unknown, v.verdicts.memory = map[object.Key]diff.Result{}, map[object.Key]string{}, map[object.Key]string{}
		return p, v
	}
	one, two, three := secret("a"), secret("b"), secret("c")
	one.SetName("one")
	two.SetName("two")
	three.SetName("three")
	pairs := []syncplan.Pair{
		{Key: object.KeyOf(one), Target: one, Live: one}, {Key: object.KeyOf(two), Target: two, Live: two}, {Key: object.KeyOf(three), Target: three, Live: three},
		{Key: object.Key{Name: "missing"}, Target: one},
	}
	p, v := fresh()
	v.pairs = append(v.pairs, pairs...)
	same := memory{premise: p.premise(v, rules)}
	if got := p.recall(v, same.premise); len(got) != 3 {
		t.Fatalf("%d pairs are to be compared, want 3", len(got))
	}
	v.pairs[0].InSync, v.pairs[0].Identical = true, true
	v.verdicts.results[pairs[1].Key] = diff.Result{Modified: true}
	v.verdicts.unknown[pairs[2].Key] = "refused"
	p.memorize(v, same.premise)

	again := func(change func(*pass, *view) premise) []string {
		p, v := fresh()
		v.pairs = append(v.pairs, pairs...)
		var names []string
		for _, pair := range p.recall(v, change(p, v)) {
			names = append(names, pair.Key.Name)
		}
		if len(names) == 1 && (!v.pairs[0].InSync || !v.pairs[0].Identical || !v.verdicts.results[pairs[1].Key].Modified) {
			t.Errorf("recalled %+v, %+v", v.pairs[0], v.verdicts.results)
		}
		return names
	}
	if got := again(func(*pass, *view) premise { return same.premise }); len(got) != 1 || got[0] != "three" {
		t.Errorf("compared again: %v, want three", got)
	}
	if got := again(func(_ *pass, v *view) premise { v.pairs[0].Live = one.DeepCopy(); return same.premise }); len(got) != 2 {
		t.Errorf("after a change of one: %v", got)
	}
	if got := again(func(p *pass, _ *view) premise { p.refresh = v1alpha1.RefreshNormal; return same.premise }); len(got) != 3 {
		t.Errorf("after a refresh: %v", got)
	}
	if got := again(func(_ *pass, _ *view) premise { other := same.premise; other.digest = "e"; return other }); len(got) != 3 {
		t.Errorf("after a commit: %v", got)
	}
}
