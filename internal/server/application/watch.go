package application

import (
	"context"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
	"github.com/sluice-cd/sluice/internal/server/stream"
)

// Event is a change of an Application.
type Event struct {
	Type        string                `json:"type"`
	Application *v1alpha1.Application `json:"application"`

	shared *store.Shared[*v1alpha1.Application]
}

// StreamKey names the Application.
func (e *Event) StreamKey() string {
	return e.Application.Namespace + "/" + e.Application.Name
}

// Shared encodes the state once for all who watch it with these fields.
func (e *Event) Shared(fields string, encode func() ([]byte, error)) ([]byte, error) {
	if e.shared == nil {
		return encode()
	}
	return e.shared.Encoded(e.Type+" "+fields, encode)
}

// Watch streams changes of the Applications that the caller may see. All that
// is there comes first, unless a resource version is given and no name.
func (s *Service) Watch(ctx context.Context, c *route.Call, q *Query, send func(*Event) error) error {
	keep, err := s.filter(*q)
	if err != nil {
		return err
	}
	initial := q.ResourceVersion == "" || q.Name != ""
	watch := s.Hub.Apps.Watch(func(a *v1alpha1.Application) bool { return q.Name == "" || a.Name == q.Name }, initial)
	defer watch.Stop()
	shown := &store.Marks{}
	if !initial {
		visible := c.Sieve("applications", "get")
		for _, a := range s.Hub.Apps.Snapshot().Items {
			if keep(a.Object) && visible(a.Name) {
				shown.Set(a.ID)
			}
		}
	}
	if err := send(nil); err != nil { // from here on every change is sent at once
		return err
	}
	for first := initial; ; first = false {
		changes, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		for _, change := range changes {
			e := s.event(c, change, keep, shown)
			if e == nil {
				continue
			}
			if first {
				e.shared = nil // many at once and once: not worth keeping
			}
			if err := send(e); err != nil {
				return err
			}
		}
	}
}

// event is what a client sees of a change: an Application that it may not see
// any more, or that does not fit any more, is gone for it.
func (s *Service) event(c *route.Call, change stream.Change[*store.Shared[*v1alpha1.Application]], keep func(*v1alpha1.Application) bool, shown *store.Marks) *Event {
	app, id := change.Value.Object, change.Value.ID
	fits := change.Kind != stream.Deleted && keep(app) && s.visible(c, app)
	switch {
	case fits && shown.Has(id):
		return &Event{Type: string(stream.Modified), Application: app, shared: change.Value}
	case fits:
		shown.Set(id)
		return &Event{Type: string(stream.Added), Application: app, shared: change.Value}
	case shown.Has(id) && change.Kind == stream.Deleted && s.visible(c, app):
		shown.Clear(id)
		return &Event{Type: string(stream.Deleted), Application: app, shared: change.Value}
	case shown.Has(id): // what it has become is not for these eyes
		shown.Clear(id)
		left := &v1alpha1.Application{}
		left.Name, left.Namespace, left.UID, left.ResourceVersion = app.Name, app.Namespace, app.UID, app.ResourceVersion
		return &Event{Type: string(stream.Deleted), Application: left}
	}
	return nil
}
