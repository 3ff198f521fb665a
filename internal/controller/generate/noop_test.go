package generate_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/adapter/template"
	"github.com/sluice-cd/sluice/internal/controller/generate"
)

// shelf is a cache that holds what it is given.
type shelf struct {
	client.Reader
	apps []v1alpha1.Application
}

func (s *shelf) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

func (s *shelf) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.ApplicationList).Items = s.apps
	return nil
}

// BenchmarkNothingToDo evaluates a set of 5,000 Applications, clusters times a
// list in Go templates, and decides that nothing is to be written.
func BenchmarkNothingToDo(b *testing.B) {
	var secrets []*corev1.Secret
	for i := range 50 {
		secrets = append(secrets, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("c", i), Labels: map[string]string{v1alpha1.LabelSecretType: "cluster", "region": "eu"}},
			Data:       map[string][]byte{"name": fmt.Append(nil, "c", i), "server": fmt.Append(nil, "https://c", i)},
		})
	}
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: controlPlane, Name: "bench"}}
	elements := ""
	for i := range 100 {
		elements += fmt.Sprintf("{service: s%d}, ", i)
	}
	text := "goTemplate: true\ngoTemplateOptions: [missingkey=error]\n" + `generators: [{matrix: {generators: [{clusters: {selector: {matchLabels: {region: eu}}}}, {list: {elements: [` + elements + `]}}]}}]
template:
  metadata: {name: '{{.name}}-{{.service}}', labels: {service: '{{.service}}', region: '{{.metadata.labels.region}}'}}
  spec:
    project: default
    source: {repoURL: "https://git.example/fleet", targetRevision: main, path: 'apps/{{.service}}', helm: {parameters: [{name: region, value: '{{.metadata.labels.region}}'}]}}
    destination: {server: '{{.server}}', namespace: '{{.service}}'}
    syncPolicy: {automated: {prune: true, selfHeal: true}, syncOptions: [CreateNamespace=true]}
`
	if err := yaml.UnmarshalStrict([]byte(text), &set.Spec); err != nil {
		b.Fatal(err)
	}
	store := &shelf{}
	v := generate.NewEvaluator(generate.Sources{
		Reader: store, Settings: &declared{settings.Parse(secrets, nil)}, Namespace: controlPlane, Engine: template.New(clock.RealClock{}),
		Clock: testclock.NewFakePassiveClock(start), Log: slog.New(slog.DiscardHandler),
	})
	p, err := v.Preview(b.Context(), set)
	if err != nil || len(p.Changes) != 5000 {
		b.Fatalf("%v, %d changes", err, len(p.Changes))
	}
	for _, c := range p.Changes {
		store.apps = append(store.apps, *c.After)
	}
	for b.Loop() {
		p, err := v.Preview(b.Context(), set)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range p.Changes {
			if c.Action != generate.None {
				b.Fatalf("%s: %s %s", c.Name, c.Action, c.Reason)
			}
		}
	}
}
