package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/fleet"
	"github.com/sluice-cd/sluice/test/rig"
)

// A matrix of clusters and services: 5,000 Applications.
const (
	benchClusters = 50
	benchServices = 100
	benchApps     = benchClusters * benchServices
	writers       = 10
)

const benchSet = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: bench}
spec:
  goTemplate: true
  goTemplateOptions: [missingkey=error]
  generators:
  - matrix:
      generators:
      - clusters: {selector: {matchLabels: {bench: "true"}}}
      - list: {elements: [%s]}
  template:
    metadata:
      name: '{{.name}}-{{.service}}'
      labels: {service: '{{.service}}', region: '{{.metadata.labels.region}}'}
    spec:
      project: default
      source: {repoURL: "https://git.example/fleet", targetRevision: main, path: 'apps/{{.service}}', helm: {parameters: [{name: region, value: '{{.metadata.labels.region}}'}]}}
      destination: {server: '{{.server}}', namespace: '{{.service}}'}
      syncPolicy: {automated: {prune: true, selfHeal: true}, syncOptions: [CreateNamespace=true]}
`

// setBench is a hub with the controllers of ApplicationSets alone.
type setBench struct {
	*rig.Rig
	process *rig.Process
	metrics string
}

// measureSets makes 5,000 Applications from one set, evaluates it once more,
// and changes a label of one cluster.
func measureSets(ctx context.Context, _ size) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{Bin: filepath.Dir(self), Dir: dir, Clusters: "one", Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	b := &setBench{Rig: r}
	defer func() {
		err = errors.Join(err, r.Stop(context.WithoutCancel(ctx)))
		if err != nil {
			if raw, problem := os.ReadFile(r.Log()); problem == nil {
				fmt.Fprintf(os.Stderr, "end of the log:\n%s\n", raw[max(0, len(raw)-4000):])
			}
		}
	}()
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	created, err := b.create(ctx)
	if err != nil {
		return nil, err
	}
	floor, err := b.floor(ctx)
	if err != nil {
		return nil, err
	}
	figures = append(figures,
		figure("applicationset.create_s", "s", created.Seconds(), 0), figure("applicationset.create_floor_s", "s", floor.Seconds(), 0),
		figure("applicationset.create_ratio", "", created.Seconds()/floor.Seconds(), 2))
	noop, err := b.noop(ctx)
	if err != nil {
		return figures, err
	}
	label, err := b.label(ctx)
	return append(append(figures, noop...), label...), err
}

// prepare registers clusters that nobody can reach, and starts the controllers.
func (b *setBench) prepare(ctx context.Context) error {
	for i := range benchClusters {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: cluster(i), Labels: map[string]string{v1alpha1.LabelSecretType: "cluster", "bench": "true", "region": "r" + strconv.Itoa(i%5)}},
			StringData: map[string]string{"name": cluster(i), "server": "https://" + cluster(i) + ".invalid", "config": "{}"},
		}
		if err := b.Hub.Create(ctx, secret); err != nil {
			return fmt.Errorf("register: %w", err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.metrics = listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	if b.process, err = b.LaunchComponent("applicationset-controller", "--metrics-addr", b.metrics); err != nil {
		return err
	}
	return rig.Until(ctx, time.Minute, "the controllers", func(ctx context.Context) (bool, error) {
		_, err := b.evaluations(ctx)
		return err == nil, err
	})
}

func cluster(i int) string { return fmt.Sprintf("bench-%02d", i) }

// create waits until all Applications exist.
func (b *setBench) create(ctx context.Context) (time.Duration, error) {
	services := make([]string, benchServices)
	for i := range services {
		services[i] = fmt.Sprintf("{service: svc-%03d}", i)
	}
	begin := time.Now()
	if err := b.Apply(ctx, fmt.Sprintf(benchSet, strings.Join(services, ", ")), &v1alpha1.ApplicationSet{}); err != nil {
		return 0, err
	}
	err := rig.Until(ctx, 10*time.Minute, "5,000 Applications", func(ctx context.Context) (bool, error) {
		n, err := b.count(ctx, rig.Namespace)
		return n == benchApps, err
	})
	return time.Since(begin), err
}

// count asks the API server how many Applications there are, without them.
func (b *setBench) count(ctx context.Context, namespace string) (int, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ApplicationList"))
	if err := b.Hub.List(ctx, &list, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return 0, err
	}
	n := len(list.Items)
	if list.RemainingItemCount != nil {
		n += int(*list.RemainingItemCount)
	}
	return n, nil
}

// floor is the time that creating the same objects takes, by as many writers.
func (b *setBench) floor(ctx context.Context) (time.Duration, error) {
	const namespace = "floor"
	if err := b.Hub.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return 0, err
	}
	var list v1alpha1.ApplicationList
	if err := b.Hub.List(ctx, &list, client.InNamespace(rig.Namespace)); err != nil {
		return 0, err
	}
	cfg, err := b.HubPart.Config()
	if err != nil {
		return 0, err
	}
	cfg.WarningHandler = rest.NoWarnings{}
	hub, err := client.New(cfg, client.Options{Scheme: b.Hub.Scheme()})
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, app := range list.Items {
		same := &v1alpha1.Application{Spec: app.Spec}
		same.Namespace, same.Name, same.Labels, same.Annotations, same.Finalizers = namespace, app.Name, app.Labels, app.Annotations, app.Finalizers
		group.Go(func() error { return hub.Create(inner, same) })
	}
	err = group.Wait()
	return time.Since(begin), err
}

// evaluations is how often sets were evaluated, from the metrics.
func (b *setBench) evaluations(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "argocd_appset_reconcile_count{"); ok {
			return strconv.Atoi(rest[strings.LastIndex(rest, " ")+1:])
		}
	}
	return 0, nil
}

// quiet waits until the process has nothing to do: neither evaluations nor CPU
// time to speak of for three seconds.
func (b *setBench) quiet(ctx context.Context) error {
	var count int
	var cpu time.Duration
	var since time.Time
	return rig.Until(ctx, 5*time.Minute, "a quiet process", func(ctx context.Context) (bool, error) {
		n, err := b.evaluations(ctx)
		if err != nil {
			return false, err
		}
		used, err := b.process.CPU()
		if err != nil {
			return false, err
		}
		if n != count || used-cpu > 500*time.Millisecond || since.IsZero() {
			count, cpu, since = n, used, time.Now()
		}
		return time.Since(since) > 3*time.Second, nil
	})
}

// writes are the writes of sluice to Applications and sets since a line of the
// audit log.
func (b *setBench) writes(from int) (out []fleet.Audit, lines int, err error) {
	all, err := b.HubPart.AuditLines()
	if err != nil {
		return nil, 0, err
	}
	for _, a := range all[min(from, len(all)):] {
		if a.Write() && strings.HasPrefix(a.UserAgent, "sluice") && (a.ObjectRef.Resource == "applications" || a.ObjectRef.Resource == "applicationsets") {
			out = append(out, a)
		}
	}
	return out, len(all), nil
}

// noop evaluates the set once more, by a label of it that means nothing.
func (b *setBench) noop(ctx context.Context) ([]Figure, error) {
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	_, from, err := b.writes(0)
	if err != nil {
		return nil, err
	}
	before, err := b.evaluations(ctx)
	if err != nil {
		return nil, err
	}
	used, err := b.process.CPU()
	if err != nil {
		return nil, err
	}
	set := &v1alpha1.ApplicationSet{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "bench"}}
	if err := b.Hub.Patch(ctx, set, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"looked-at":"again"}}}`))); err != nil {
		return nil, err
	}
	if err := rig.Until(ctx, time.Minute, "another evaluation", func(ctx context.Context) (bool, error) {
		n, err := b.evaluations(ctx)
		return n > before, err
	}); err != nil {
		return nil, err
	}
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	after, err := b.process.CPU()
	if err != nil {
		return nil, err
	}
	writes, _, err := b.writes(from)
	if err != nil {
		return nil, err
	}
	return []Figure{
		figure("applicationset.noop_cpu_s", "s", (after - used).Seconds(), 1),
		{Name: "applicationset.noop_writes", Value: float64(len(writes)), Unit: "writes", OK: len(writes) == 0},
	}, nil
}

// label changes a label of one cluster; only its Applications may be written.
func (b *setBench) label(ctx context.Context) ([]Figure, error) {
	_, from, err := b.writes(0)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: cluster(7)}}
	if err := b.Hub.Patch(ctx, secret, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"region":"moved"}}}`))); err != nil {
		return nil, err
	}
	var moved v1alpha1.ApplicationList
	if err := rig.Until(ctx, 2*time.Minute, "the Applications of one cluster", func(ctx context.Context) (bool, error) {
		err := b.Hub.List(ctx, &moved, client.InNamespace(rig.Namespace), client.MatchingLabels{"region": "moved"})
		return len(moved.Items) == benchServices, err
	}); err != nil {
		return nil, err
	}
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	writes, _, err := b.writes(from)
	if err != nil {
		return nil, err
	}
	touched, others := 0, 0
	for _, w := range writes {
		if w.ObjectRef.Resource != "applications" {
			continue
		}
		touched++
		if !strings.HasPrefix(w.ObjectRef.Name, cluster(7)+"-") {
			others++
		}
	}
	return []Figure{
		{Name: "applicationset.label_writes", Value: float64(touched), Unit: "writes", Bar: benchServices, OK: touched == benchServices && others == 0},
	}, nil
}
