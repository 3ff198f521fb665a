package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/test/rig"
)

// The load of the part "sync.*": five objects for each Application, and so
// many Applications in one namespace.
const (
	syncObjects      = 5
	syncPerNamespace = 20
	syncWorkers      = 16
	syncLimit        = 10 * time.Minute
)

// syncManifests are the objects of one Application.
func syncManifests(name, value string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
data: {value: %[2]q, mode: production}
---
apiVersion: v1
kind: Secret
metadata: {name: %[1]s}
type: Opaque
stringData: {token: "0123456789"}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
  labels: {app: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      serviceAccountName: %[1]s
      containers:
      - name: web
        image: registry.example.com/web:1.0.0
        env: [{name: VALUE, value: %[2]q}]
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 64Mi}}
`, name, value)
}

func syncName(n int) string { return fmt.Sprintf("app-%04d", n) }

func syncNamespace(prefix string, n int) string {
	return fmt.Sprintf("%s-%02d", prefix, n/syncPerNamespace)
}

// load is a client of the cluster without a rate limit.
type load struct {
	client.WithWatch
}

func newLoad(r *rig.Rig) (*load, error) {
	cfg, err := r.HubPart.Config()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("client of the cluster: %w", err)
	}
	return &load{c}, nil
}

// namespaces makes the namespaces for the first n Applications.
func (l *load) namespaces(ctx context.Context, prefix string, n int) error {
	for i := 0; i < n; i += syncPerNamespace {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: syncNamespace(prefix, i)}}
		if err := l.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// remove deletes the namespaces and waits until all that was in them is gone.
func (l *load) remove(ctx context.Context, prefix string, n int) error {
	for i := 0; i < n; i += syncPerNamespace {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: syncNamespace(prefix, i)}}
		if err := l.Delete(ctx, ns); err != nil {
			return err
		}
	}
	return rig.Until(ctx, syncLimit, "namespaces of the floor are gone", func(ctx context.Context) (bool, error) {
		var list corev1.NamespaceList
		if err := l.List(ctx, &list); err != nil {
			return false, err
		}
		for _, ns := range list.Items {
			if strings.HasPrefix(ns.Name, prefix+"-") {
				return false, nil
			}
		}
		return true, nil
	})
}

// atOnce calls do for 0 to n-1 in several goroutines.
func atOnce(n, workers int, do func(int) error) error {
	next, problems := make(chan int), make(chan error, n)
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					problems <- err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
	close(problems)
	return <-problems
}

// floor is the time that the cluster itself needs: apply is that of the
// applies alone, ready ends when all Deployments are available.
type floor struct{ apply, ready time.Duration }

// apply sends the objects of n Applications and waits for their Deployments.
func (l *load) apply(ctx context.Context, prefix string, n int, value string) (floor, error) {
	var objects []*unstructured.Unstructured
	for i := range n {
		for _, text := range strings.Split(syncManifests(syncName(i), value), "---\n") {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
				return floor{}, err
			}
			u.SetNamespace(syncNamespace(prefix, i))
			objects = append(objects, u)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	begin := time.Now()
	all, err := l.await(ctx, &appsv1.DeploymentList{}, n, func(o client.Object) bool {
		d, ok := o.(*appsv1.Deployment)
		return ok && strings.HasPrefix(d.Namespace, prefix+"-") && available(d, value)
	})
	if err != nil {
		return floor{}, err
	}
	err = atOnce(len(objects), syncWorkers, func(i int) error {
		return l.Apply(ctx, client.ApplyConfigurationFromUnstructured(objects[i]), client.FieldOwner("bench"), client.ForceOwnership)
	})
	if err != nil {
		return floor{}, fmt.Errorf("floor: %w", err)
	}
	out := floor{apply: time.Since(begin)}
	if err := all(); err != nil {
		return floor{}, fmt.Errorf("floor: %w", err)
	}
	out.ready = time.Since(begin)
	return out, nil
}

// available says that the Deployment runs what it was asked for.
func available(d *appsv1.Deployment, value string) bool {
	asked := d.Spec.Template.Spec.Containers[0].Env[0].Value == value
	return asked && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas &&
		d.Status.Replicas == d.Status.UpdatedReplicas && d.Status.AvailableReplicas == d.Status.UpdatedReplicas
}

// await watches objects from now on; the returned function waits until n of
// them were as done wants them at their last change.
func (l *load) await(ctx context.Context, list client.ObjectList, n int, done func(client.Object) bool) (func() error, error) {
	w, err := l.Watch(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	outcome := make(chan error, 1)
	go func() { // a watch that nobody reads is closed by the server
		for {
			ended, err := count(ctx, w, n, done)
			w.Stop()
			if ended && err == nil { // by the server, and a new one begins with all there is
				if w, err = l.Watch(ctx, list); err == nil {
					continue
				}
			}
			outcome <- err
			return
		}
	}()
	return func() error { return <-outcome }, nil
}

// count reads a watch until n objects are as done wants them. ended says that
// the watch ended before.
func count(ctx context.Context, w watch.Interface, n int, done func(client.Object) bool) (ended bool, err error) {
	ready := map[client.ObjectKey]bool{}
	for len(ready) < n {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("%d of %d objects are ready: %w", len(ready), n, ctx.Err())
		case e, open := <-w.ResultChan():
			o, ok := e.Object.(client.Object)
			switch {
			case !open || !ok:
				return true, nil
			case done(o):
				ready[client.ObjectKeyFromObject(o)] = true
			default:
				delete(ready, client.ObjectKeyFromObject(o))
			}
		}
	}
	return false, nil
}

// application is one that keeps itself in step.
func application(n int, repository string) *v1alpha1.Application {
	return &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Name: syncName(n), Namespace: rig.Namespace},
		Spec: v1alpha1.ApplicationSpec{
			Project:     "bench",
			Source:      &v1alpha1.ApplicationSource{RepoURL: repository, Path: "apps/" + syncName(n), TargetRevision: "main"},
			Destination: v1alpha1.ApplicationDestination{Server: "https://kubernetes.default.svc", Namespace: syncNamespace("bench", n)},
			SyncPolicy:  &v1alpha1.SyncPolicy{Automated: &v1alpha1.SyncPolicyAutomated{Prune: true, SelfHeal: true}},
		},
	}
}

const syncProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: bench}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
`
