package generate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/controller/generate"
)

// summary is a preview in short, one change a word.
func summary(p *generate.Preview) string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, fmt.Sprintf("%s:%s", c.Name, c.Action))
	}
	return strings.Join(out, " ")
}

// TestPreview says what the controller then does, and does nothing.
func TestPreview(t *testing.T) {
	yes := true
	others := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "others", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "argoproj.io/v1alpha1", Kind: v1alpha1.ApplicationSetKind, Name: "another", UID: "1", Controller: &yes},
	}}}
	w := newWorld(t, generate.Rules{}, others)
	text := func(elements string) string {
		return strings.Replace(spec("[{list: {elements: ["+elements+"]}}]", "{{id}}"), "namespace: x", "namespace: '{{ns}}'", 1)
	}
	preview := func(name string) *generate.Preview {
		t.Helper()
		var set v1alpha1.ApplicationSet
		if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: controlPlane, Name: name}, &set); err != nil {
			t.Fatal(err)
		}
		w.writes = nil
		p, err := w.Preview(t.Context(), &set)
		if err != nil || len(w.writes) > 0 {
			t.Fatalf("%v, writes %v", err, w.writes)
		}
		return p
	}
	w.apply("set", text("{id: a, ns: x}, {id: b, ns: x}, {id: c, ns: x}"))
	if got := summary(preview("set")); got != "a:create b:create c:create" {
		t.Errorf("first: %s", got)
	}
	if _, err := w.evaluate("set"); err != nil {
		t.Fatal(err)
	}
	w.apply("set", text("{id: a, ns: x}, {id: b, ns: changed}, {id: new, ns: x}, {id: others, ns: x}, {id: twice, ns: x}, {id: twice, ns: x}"))
	p := preview("set")
	if got := summary(p); got != "a:none b:update c:delete new:create others:refuse twice:refuse twice:refuse" {
		t.Errorf("then: %s", got)
	}
	b := p.Changes[1]
	if b.Before.Spec.Destination.Namespace != "x" || b.After.Spec.Destination.Namespace != "changed" || len(p.Applications) != 6 {
		t.Errorf("before %+v, after %+v, %d Applications", b.Before.Spec.Destination, b.After.Spec.Destination, len(p.Applications))
	}
	_, _ = w.evaluate("set") // others are owned by another set
	slices.Sort(w.writes)
	if got := strings.Join(w.writes, " "); got != "create new patch b" { // while an error stands nothing is deleted
		t.Errorf("the controller then does %s", got)
	}
	w.apply("set", text("{id: a, ns: x}"))
	if p := preview("set"); summary(p) != "a:none b:keep c:keep new:keep" || !strings.HasPrefix(p.Guarded, "3 of 4 Applications") {
		t.Errorf("a drop: %s, guarded %q", summary(p), p.Guarded)
	}
	w.apply("set", "goTemplate: true\ngoTemplateOptions: [missingkey=error]\n"+spec("[{list: {elements: [{id: a}, {other: a}]}}]", "{{.id}}"))
	if p := preview("set"); len(p.Errors) != 1 || !strings.Contains(p.Errors[0], `parameters {"other":"a"}`) || summary(p) != "a:none b:keep c:keep new:keep" {
		t.Errorf("an error: %v, %s", p.Errors, summary(p))
	}
}

// TestPreviewOfAnUnstoredSet needs no object on the hub, and is strict about
// secrets for who sees the answer may not be who may read them.
func TestPreviewOfAnUnstoredSet(t *testing.T) {
	host := newGitHost(t, 1)
	w := newWorld(t, generate.Rules{})
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Name: "new"}}
	set.Spec.Generators = []v1alpha1.ApplicationSetGenerator{{SCMProvider: &v1alpha1.SCMProviderGenerator{
		Github: &v1alpha1.SCMGithub{Organization: "acme", API: host.URL},
	}}}
	set.Spec.Template.Name, set.Spec.Template.Spec.Project = "a-{{repository}}", "default"
	set.Spec.Template.Spec.Destination.Name = "in-cluster"
	p, err := w.Preview(t.Context(), set)
	if err != nil || summary(p) != "a-r0:create" || p.Applications[0].Namespace != controlPlane {
		t.Errorf("%v, %+v", err, p)
	}
	set.Spec.Generators[0].SCMProvider.Github.TokenRef = &v1alpha1.SecretRef{SecretName: "tokens", Key: "token"}
	if _, err := w.Preview(t.Context(), set); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("%v", err)
	}
	set.Namespace = "elsewhere"
	if _, err := w.Preview(t.Context(), set); err == nil || !strings.Contains(err.Error(), "add it to --applicationset-namespaces") {
		t.Errorf("%v", err)
	}
	if _, err := w.Reconcile(t.Context(), types.NamespacedName{Namespace: controlPlane, Name: "new"}); err != nil || len(w.apps(controlPlane)) > 0 {
		t.Errorf("a preview left something: %v, %v", err, w.apps(controlPlane))
	}
}

// TestTheCacheIsLeftAlone: what a write answers is not read into objects of the
// cache, whose parts a decision shares.
func TestTheCacheIsLeftAlone(t *testing.T) {
	w := newWorld(t, generate.Rules{})
	w.apply("set", spec("[{list: {elements: [{id: a}]}}]", "{{id}}"))
	if _, err := w.evaluate("set"); err != nil {
		t.Fatal(err)
	}
	var stored v1alpha1.Application
	key := client.ObjectKey{Namespace: controlPlane, Name: "a"}
	if err := w.hub.Get(t.Context(), key, &stored); err != nil {
		t.Fatal(err)
	}
	cached := stored.DeepCopy()
	cached.Status.Resources = []v1alpha1.ResourceStatus{{Name: "cached"}}
	w.sources.Reader = &behind{Client: w.hub, app: cached}
	w.hub = &answering{w.hub}
	w.renew()
	w.apply("set", strings.Replace(spec("[{list: {elements: [{id: a}]}}]", "{{id}}"), "namespace: x", "namespace: changed", 1))
	if _, err := w.evaluate("set"); err != nil || strings.Join(w.writes, ",") != "patch a" {
		t.Fatalf("%v, writes %v", err, w.writes)
	}
	if got := cached.Status.Resources[0].Name; got != "cached" {
		t.Errorf("the cache holds %s", got)
	}
}

// behind is a cache that still has an older Application.
type behind struct {
	client.Client
	app *v1alpha1.Application
}

func (b *behind) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if apps, ok := list.(*v1alpha1.ApplicationList); ok {
		apps.Items = []v1alpha1.Application{*b.app}
		return nil
	}
	return b.Client.List(ctx, list, opts...)
}

// answering reads the answer to a patch into the object, as the real client does.
type answering struct{ client.Client }

func (a *answering) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	if app, ok := o.(*v1alpha1.Application); ok && len(app.Status.Resources) > 0 {
		app.Status.Resources[0].Name = "answered"
	}
	return a.Client.Patch(ctx, o, p, opts...)
}
