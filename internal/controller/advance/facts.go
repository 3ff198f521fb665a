package advance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/appset"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
)

// Facts answers what a decision asks beyond the set and its Applications. Who
// advances rollouts and who only plans them ask the same.
type Facts struct {
	// Resolve gives the commit of a source, from memory where possible.
	Resolve func(ctx context.Context, project string, src v1alpha1.ApplicationSource) (string, error)
	// Windows answers the strategy's windows for every step at now (step 1
	// first); nil refuses strategies that have some. An error names field and
	// remedy and makes the strategy invalid.
	Windows func(set *v1alpha1.ApplicationSet, now time.Time) ([]rollout.Closure, error)
	// SyncWindow says whether the project's sync windows forbid an automatic
	// sync of a rendered Application at now; nil is never.
	SyncWindow func(app *v1alpha1.Application, now time.Time) rollout.Closure
	// Allowed refuses a strategy for reasons that only the process knows, such
	// as analysis addresses; nil allows all.
	Allowed func(set *v1alpha1.ApplicationSet) error
	// Gate is --enable-progressive-syncs.
	Gate  bool
	Clock clock.Clock
}

// Plan says what a rollout of the set would do if it began now, for what has
// been rendered and what is live; nothing is remembered and nothing written.
func (f Facts) Plan(ctx context.Context, set *v1alpha1.ApplicationSet, rendered *appset.Rendered, live map[string]*v1alpha1.Application) rollout.Plan {
	in := f.input(set)
	in.Measures = true // by the one who will advance it
	in.Members, _ = f.members(ctx, set, subject{
		applications: rendered.Applications, invalid: rendered.Invalid, live: live, hash: specHash,
	})
	return rollout.Preview(in)
}

// input gathers everything but members and measurements.
func (f Facts) input(set *v1alpha1.ApplicationSet) rollout.Input {
	in := rollout.Input{Set: set, Now: f.Clock.Now(), Actors: map[string]string{}}
	for _, key := range append([]string{v1alpha1.AnnotationPauseRollout}, rollout.Requests...) {
		in.Actors[key] = actor(set, key)
	}
	if f.Windows != nil {
		windows, err := f.Windows(set, in.Now)
		if in.Windows = windows; err != nil {
			in.Refused = err.Error()
		}
	}
	if f.Allowed != nil && in.Refused == "" {
		if err := f.Allowed(set); err != nil {
			in.Refused = err.Error()
		}
	}
	return in
}

// actor is the person or manager that set an annotation.
func actor(o client.Object, annotation string) string {
	for _, f := range o.GetManagedFields() {
		if f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), `"f:`+annotation+`"`) {
			return rollout.Actor(f.Manager)
		}
	}
	return ""
}

// subject is what members are made of.
type subject struct {
	applications []v1alpha1.Application
	invalid      map[string]string
	live         map[string]*v1alpha1.Application
	// hash digests a rendered spec, sent names the operation that was written
	// to a live Application and is not visible yet; nil is none.
	hash func(*v1alpha1.Application) string
	sent func(*v1alpha1.Application) string
}

// members pairs rendered with live Applications and resolves their targets; it
// also returns the sources that they have.
func (f Facts) members(ctx context.Context, set *v1alpha1.ApplicationSet, s subject) ([]rollout.Member, map[source]v1alpha1.ApplicationSource) {
	type resolved struct {
		id  string
		err error
	}
	revisions, now := map[source]resolved{}, f.Clock.Now()
	wanted := map[source]v1alpha1.ApplicationSource{}
	out := make([]rollout.Member, 0, len(s.applications))
	for i := range s.applications {
		app := &s.applications[i]
		m := rollout.Member{Rendered: app, Live: s.live[app.Name], Invalid: s.invalid[app.Name]}
		annotations := app.Annotations
		if m.Live != nil {
			annotations = m.Live.Annotations
			if s.sent != nil {
				m.Sent = s.sent(m.Live)
			}
		}
		if f.SyncWindow != nil {
			m.Window = f.SyncWindow(app, now)
		}
		m.Class, m.Step = rollout.Classify(set, f.Gate, app, annotations)
		m.Target.SpecHash = s.hash(app)
		for _, src := range app.Spec.GetSources() {
			key := source{policy.ProjectName(app), src.RepoURL, src.Chart, src.TargetRevision}
			r, known := revisions[key]
			if !known {
				wanted[key] = src
				r.id, r.err = f.Resolve(ctx, key.project, src)
				revisions[key] = r
			}
			if r.err != nil {
				m.Target.Problem = r.err.Error()
			}
			m.Target.Revisions = append(m.Target.Revisions, r.id)
		}
		out = append(out, m)
	}
	return out, wanted
}

// specHash digests a rendered spec without the switch that the rollout sets.
func specHash(app *v1alpha1.Application) string {
	spec := app.Spec.DeepCopy()
	if spec.SyncPolicy != nil && spec.SyncPolicy.Automated != nil {
		spec.SyncPolicy.Automated.Enabled = nil
	}
	spec.Project = policy.ProjectName(app)
	raw, err := json.Marshal(spec)
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
