package applicationset

import (
	"context"
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
	"github.com/sluice-cd/sluice/internal/server/stream"
)

func (s *Service) desk() (Desk, error) {
	if s.Desk != nil {
		if d := s.Desk(); d != nil {
			return d, nil
		}
	}
	return nil, fault.New(fault.Unavailable, "this server reaches no controller that advances rollouts")
}

// Rollout says where the rollout of a set stands.
func (s *Service) Rollout(ctx context.Context, c *route.Call, q *Named) (*rollout.View, error) {
	set, err := s.find(c, *q, "get")
	if err != nil {
		return nil, err
	}
	d, err := s.desk()
	if err != nil {
		return nil, err
	}
	view, err := d.View(ctx, client.ObjectKeyFromObject(set))
	if err == nil && view == nil {
		return nil, fault.New(fault.NotFound, "ApplicationSet %s has no rollout: its strategy is not RollingSync", set.Name)
	}
	return view, err
}

// Plan says what a rollout of a saved set would do now.
func (s *Service) Plan(ctx context.Context, c *route.Call, q *Named) (*rollout.Plan, error) {
	set, err := s.find(c, *q, "get")
	if err != nil {
		return nil, err
	}
	d, err := s.desk()
	if err != nil {
		return nil, err
	}
	return planned(d.Plan(ctx, client.ObjectKeyFromObject(set)))
}

// PlanOfRequest asks for the plan of a manifest.
type PlanOfRequest struct {
	Name           string                  `json:"-" path:"name"`
	ApplicationSet v1alpha1.ApplicationSet `json:"applicationSet"`
}

// PlanOf says what a rollout of a manifest would do, which need not be saved.
func (s *Service) PlanOf(ctx context.Context, c *route.Call, q *PlanOfRequest) (*rollout.Plan, error) {
	if q.ApplicationSet.Name == "" {
		q.ApplicationSet.Name = q.Name
	}
	if q.ApplicationSet.Name != q.Name {
		return nil, fault.New(fault.InvalidArgument, "applicationSet.metadata.name is %q and the URL names %q", q.ApplicationSet.Name, q.Name)
	}
	set := s.clean(&q.ApplicationSet)
	if err := s.check(c, set); err != nil {
		return nil, err
	}
	d, err := s.desk()
	if err != nil {
		return nil, err
	}
	return planned(d.PlanOf(ctx, set))
}

func planned(p *rollout.Plan, err error) (*rollout.Plan, error) {
	if fault.Away(err) {
		return nil, err
	}
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "%w", err)
	}
	return p, nil
}

// SteerRequest asks something of a rollout.
type SteerRequest struct {
	Named
	Verb string `json:"-" path:"verb"`
	// Rollout is the number of the one that is meant.
	Rollout int64  `json:"rollout,omitempty"`
	Step    string `json:"step,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Steered says what the caller may not expect.
type Steered struct {
	Note string `json:"note,omitempty"`
}

// Steer pauses, resumes, promotes, retries, aborts or rolls back.
func (s *Service) Steer(ctx context.Context, c *route.Call, q *SteerRequest) (*Steered, error) {
	verb, err := rollout.ReadVerb(q.Verb)
	if err != nil {
		return nil, fault.New(fault.InvalidArgument, "%w", err)
	}
	set, ok := s.Hub.Set(q.AppsetNamespace, q.Name)
	if !ok || !s.Hub.Enabled(set.Namespace) {
		c.Imitate(append([]string{"update"}, route.Refusing(verb.Permission())...), s.absent(q.Named))
		return nil, route.Hidden()
	}
	if c.Can(s.what(set, "update")) {
		c.Vouch() // update implies all verbs
	} else if set, err = s.find(c, q.Named, verb.Permission()); err != nil {
		return nil, err
	}
	d, err := s.desk()
	if err != nil {
		return nil, err
	}
	user := c.Who.Name
	if user == "" {
		user = c.Who.Subject
	}
	note, err := d.Ask(ctx, client.ObjectKeyFromObject(set), rollout.Ask{Verb: verb, Rollout: q.Rollout, Step: q.Step, Reason: q.Reason}, user)
	var refusal *rollout.Refusal
	if errors.As(err, &refusal) {
		code := fault.FailedPrecondition
		switch refusal.Why {
		case rollout.Misread:
			code = fault.InvalidArgument
		case rollout.Stale:
			code = fault.Aborted
		}
		return nil, fault.New(code, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	c.Did(route.Act{Object: set, Reason: "ResourceUpdated", Message: "asked the rollout to " + string(verb)})
	return &Steered{Note: note}, nil
}

// Event is a change of a set.
type Event struct {
	Type           string                   `json:"type"`
	ApplicationSet *v1alpha1.ApplicationSet `json:"applicationSet"`

	shared *store.Shared[*v1alpha1.ApplicationSet]
}

// StreamKey names the set.
func (e *Event) StreamKey() string { return e.ApplicationSet.Namespace + "/" + e.ApplicationSet.Name }

// Shared encodes the state once for all who watch it with these fields.
func (e *Event) Shared(fields string, encode func() ([]byte, error)) ([]byte, error) {
	if e.shared == nil {
		return encode()
	}
	return e.shared.Encoded(e.Type+" "+fields, encode)
}

// Watch streams changes of sets; what is there comes first when a name is given.
func (s *Service) Watch(ctx context.Context, c *route.Call, q *Query, send func(*Event) error) error {
	keep, err := s.filter(*q)
	if err != nil {
		return err
	}
	watch := s.Hub.Sets.Watch(func(a *v1alpha1.ApplicationSet) bool { return q.Name == "" || a.Name == q.Name }, q.Name != "")
	defer watch.Stop()
	shown := &store.Marks{}
	visible := c.Sieve("applicationsets", "get")
	for _, item := range s.Hub.Sets.Snapshot().Items {
		if q.Name == "" && keep(item.Object) && visible(item.Name) {
			shown.Set(item.ID)
		}
	}
	if err := send(nil); err != nil { // from here on every change is sent at once
		return err
	}
	for {
		changes, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		for _, change := range changes {
			if e := s.event(c, change, keep, shown); e != nil {
				if err := send(e); err != nil {
					return err
				}
			}
		}
	}
}

// event is what a client sees of a change: a set that it may not see any more
// is gone for it.
func (s *Service) event(c *route.Call, change stream.Change[*store.Shared[*v1alpha1.ApplicationSet]], keep func(*v1alpha1.ApplicationSet) bool, shown *store.Marks) *Event {
	set, id := change.Value.Object, change.Value.ID
	visible := c.Can(s.what(set, "get"))
	switch {
	case change.Kind != stream.Deleted && keep(set) && visible:
		kind := stream.Added
		if shown.Has(id) {
			kind = stream.Modified
		}
		shown.Set(id)
		return &Event{Type: string(kind), ApplicationSet: set, shared: change.Value}
	case !shown.Has(id):
		return nil
	}
	shown.Clear(id)
	if visible {
		return &Event{Type: string(stream.Deleted), ApplicationSet: set, shared: change.Value}
	}
	left := &v1alpha1.ApplicationSet{}
	left.Name, left.Namespace, left.UID, left.ResourceVersion = set.Name, set.Namespace, set.UID, set.ResourceVersion
	return &Event{Type: string(stream.Deleted), ApplicationSet: left}
}
