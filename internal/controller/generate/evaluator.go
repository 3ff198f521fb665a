package generate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/adapter/jq"
	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/tree"
)

// Settings are the declarations on the hub; *settings.Store is the real one.
type Settings interface {
	Snapshot() *settings.Snapshot
	OnChange(func(*settings.Snapshot))
}

// Sources are what an evaluation reads. Nothing in it writes.
type Sources struct {
	// Reader gives sets, Applications and projects; a cache.
	Reader client.Reader
	// Settings of the installation, read anew for every evaluation.
	Settings Settings
	// Namespace is that of the control plane.
	Namespace string
	Engine    appset.Engine
	// Tree reads a revision of a repository for a project; fresh asks the
	// remote first.
	Tree func(ctx context.Context, project, repoURL, revision string, fresh bool) (tree.Tree, error)
	// Hosts, Plugin and Resources answer the generators of those kinds.
	Hosts     Hosts
	Plugin    Service
	Resources Resources
	// Queries evaluates jq expressions of users where their memory is bounded;
	// nil is this process.
	Queries jq.Caller
	// Secret and ConfigMap read what generators name.
	Secret, ConfigMap func(ctx context.Context, namespace, name string) (Object, error)
	Rules             Rules
	// Gate is --enable-progressive-syncs.
	Gate  bool
	Clock clock.PassiveClock
	Log   *slog.Logger
}

// Evaluator evaluates sets without touching anything. It may be used by several
// goroutines.
type Evaluator struct {
	Sources
	known   sync.Mutex
	answers map[types.NamespacedName]map[string]answer
}

// NewEvaluator makes an evaluator.
func NewEvaluator(s Sources) *Evaluator {
	return &Evaluator{Sources: s, answers: map[types.NamespacedName]map[string]answer{}}
}

// rules are those of the flags and the newest settings.
func (v *Evaluator) rules() Rules {
	r, problems := v.Rules.With(v.Settings.Snapshot().Params)
	for _, p := range problems {
		v.Log.Warn(p)
	}
	return r
}

// evaluated is what an evaluation gave.
type evaluated struct {
	rules    Rules
	set      *v1alpha1.ApplicationSet // with its effective policy
	rendered *appset.Rendered
	project  string
	git      []v1alpha1.ApplicationSource
	wake     time.Duration
}

// mode is how an evaluation is made: strict for a person, fresh without what is
// remembered.
type mode struct{ strict, fresh bool }

// maxEvaluation bounds the time of one evaluation; without a bound one set
// could occupy a worker for ever.
const maxEvaluation = 10 * time.Minute

// evaluate runs the generators of a set and renders its Applications. Also with
// an error the result says which repositories were read and when to look again.
func (v *Evaluator) evaluate(ctx context.Context, set *v1alpha1.ApplicationSet, m mode) (*evaluated, error) {
	out := &evaluated{rules: v.rules(), project: reader(set)}
	ctx, cancel := context.WithTimeout(ctx, maxEvaluation)
	defer cancel()
	var policyErr error
	out.set, policyErr = out.rules.effective(set)
	snapshot := v.Settings.Snapshot()
	o := &outside{Evaluator: v, ctx: ctx, rules: out.rules, set: set, strict: m.strict, fresh: m.fresh, used: map[string]bool{}, own: map[string]answer{}}
	rendered, err := appset.Evaluate(out.set, appset.World{
		Clusters: snapshot.Clusters, Unusable: snapshot.Unusable, Outside: o, Go: v.Engine, TrackingLabel: snapshot.Config["application.instanceLabelKey"],
		NewGlobs: out.rules.NewGlobs, Stop: ctx.Err,
		Tree: func(repoURL, revision string) (tree.Tree, error) {
			out.git = append(out.git, v1alpha1.ApplicationSource{RepoURL: repoURL, TargetRevision: revision, Path: "."})
			return v.Tree(ctx, out.project, repoURL, revision, m.fresh)
		},
	})
	out.wake = o.wake
	if every := appset.Interval(set, out.rules.Interval); every > 0 && (out.wake == 0 || every < out.wake) {
		out.wake = every
	}
	if err = errors.Join(policyErr, err); err != nil {
		return out, err
	}
	o.tidy()
	out.rendered = rendered
	return out, v.validate(ctx, set.Namespace, rendered)
}

// reader is the project for which generators read repositories: that of the
// template, or none when parameters choose it (spec/applicationset.md §3.3).
func reader(set *v1alpha1.ApplicationSet) string {
	if p := set.Spec.Template.Spec.Project; !strings.Contains(p, "{{") {
		return p
	}
	return ""
}

// TemplatedProject says that parameters, or a generator's template, choose the
// project of the set's Applications (spec/applicationset.md §5.6): then whoever
// controls a generator controls the project.
func TemplatedProject(set *v1alpha1.ApplicationSet) bool { return appset.ProjectChoice(set) != "" }

// validate notes which Applications must not be written.
func (v *Evaluator) validate(ctx context.Context, namespace string, r *appset.Rendered) error {
	projects := map[string]error{}
	clusters := v.Settings.Snapshot().Clusters
	for i := range r.Applications {
		app := &r.Applications[i]
		if r.Invalid[app.Name] != "" {
			continue
		}
		name := policy.ProjectName(app)
		problem, known := projects[name]
		if !known {
			var err error
			if problem, err = v.project(ctx, name, namespace); err != nil {
				return err
			}
			projects[name] = problem
		}
		if problem != nil {
			r.Invalid[app.Name] = fmt.Sprintf("application %s: spec.project: %s", app.Name, problem)
			continue
		}
		d := app.Spec.Destination
		if _, err := clusters.Resolve(d.Server, d.Name); err != nil {
			r.Invalid[app.Name] = fmt.Sprintf("application %s: spec.destination: %s", app.Name, err)
		}
	}
	return nil
}

// project says what is wrong with a project for Applications of a namespace.
func (v *Evaluator) project(ctx context.Context, name, namespace string) (problem, err error) {
	var project v1alpha1.AppProject
	err = v.Reader.Get(ctx, types.NamespacedName{Namespace: v.Namespace, Name: name}, &project)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("project %s does not exist: create the AppProject or correct the template", name), nil
	case err != nil:
		return nil, fmt.Errorf("project %s: %w", name, err)
	case !policy.Namespace(&project, namespace, v.Namespace):
		return fmt.Errorf("project %s does not let Applications of namespace %s in: add it to the project's spec.sourceNamespaces or choose another project", name, namespace), nil
	}
	return nil, nil
}

// live are all Applications of a namespace by name. They are the cache's own:
// nobody may change them.
func (v *Evaluator) live(ctx context.Context, namespace string) (map[string]*v1alpha1.Application, error) {
	var list v1alpha1.ApplicationList
	if err := v.Reader.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list Applications: %w", err)
	}
	out := make(map[string]*v1alpha1.Application, len(list.Items))
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out, nil
}

// drop forgets what was answered to the generators of a set that is gone.
func (v *Evaluator) drop(set types.NamespacedName) {
	v.known.Lock()
	delete(v.answers, set)
	v.known.Unlock()
	if v.Hosts != nil {
		v.Hosts.Forget(set.Namespace, set.Name)
	}
}
