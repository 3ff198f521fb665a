package application

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/domain/diff"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// liveRoutes need an Engine.
func (s *Service) liveRoutes() route.Table {
	reads := route.Needs(appGet)
	act := route.Needs("applications/action/*").And(appGet)
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: one + "/managed-resources", RPC: rpc + "ManagedResources", Rule: reads, Fields: true,
			Summary: "What Git asks for beside what is there."}, s.ManagedResources),
		route.Unary(route.Spec{Method: "GET", Path: one + "/resource-tree", RPC: rpc + "ResourceTree", Rule: reads,
			Summary: "The managed objects and what they own."}, s.ResourceTree),
		route.Stream(route.Spec{Method: "GET", Path: streamed + "/{name}/resource-tree", RPC: rpc + "WatchResourceTree", Rule: reads, Fields: true,
			Summary: "The tree, again on each change."}, s.WatchTree),
		route.Unary(route.Spec{Method: "GET", Path: one + "/resource", RPC: rpc + "GetResource", Rule: reads,
			Summary: "A live object."}, s.GetResource),
		route.Unary(route.Spec{Method: "POST", Path: one + "/resource", RPC: rpc + "PatchResource", Rule: route.Needs("applications/update/*").And(appGet, appUpdate),
			Summary: "Patch a live object."}, s.PatchResource),
		route.Unary(route.Spec{Method: "DELETE", Path: one + "/resource", RPC: rpc + "DeleteResource", Rule: route.Needs("applications/delete/*").And(appGet, appDelete),
			Summary: "Delete a live object."}, s.DeleteResource),
		route.Unary(route.Spec{Method: "GET", Path: one + "/resource/actions", RPC: rpc + "ListResourceActions", Rule: reads,
			Summary: "What can be done with a live object."}, s.ListActions),
		route.Unary(route.Spec{Method: "POST", Path: one + "/resource/actions", RPC: rpc + "RunResourceAction", Rule: act,
			Summary: "Run an action on a live object (old form)."}, s.RunAction),
		route.Unary(route.Spec{Method: "POST", Path: one + "/resource/actions/v2", RPC: rpc + "RunResourceActionV2", Rule: act,
			Summary: "Run an action on a live object."}, s.RunActionV2),
		route.Unary(route.Spec{Method: "GET", Path: one + "/server-side-diff", RPC: rpc + "ServerSideDiff", Rule: reads,
			Summary: "What an apply would change, as the cluster says."}, s.ServerSideDiff),
		route.Stream(route.Spec{Method: "GET", Path: one + "/logs", RPC: rpc + "PodLogs", Rule: route.Needs(appGet, "logs/get"), Fields: true,
			Summary: "Logs of pods, merged by time."}, s.Logs),
		route.Stream(route.Spec{Method: "GET", Path: one + "/pods/{podName}/logs", RPC: rpc + "PodLogs", Rule: route.Needs(appGet, "logs/get"), Fields: true,
			Summary: "Logs of one pod."}, s.Logs),
	}
}

// ResourcesQuery asks for objects of an Application.
type ResourcesQuery struct {
	Target
	Namespace    string `json:"-" query:"namespace"`
	ResourceName string `json:"-" query:"name,resourceName"`
	Version      string `json:"-" query:"version"`
	Group        string `json:"-" query:"group"`
	Kind         string `json:"-" query:"kind"`
}

// ManagedResource is one object that Git asks for; states are JSON texts,
// "null" where there is none.
type ManagedResource struct {
	Group               string `json:"group,omitempty"`
	Kind                string `json:"kind,omitempty"`
	Namespace           string `json:"namespace,omitempty"`
	Name                string `json:"name,omitempty"`
	TargetState         string `json:"targetState,omitempty"`
	LiveState           string `json:"liveState,omitempty"`
	NormalizedLiveState string `json:"normalizedLiveState,omitempty"`
	PredictedLiveState  string `json:"predictedLiveState,omitempty"`
	ResourceVersion     string `json:"resourceVersion,omitempty"`
	Modified            bool   `json:"modified,omitempty"`
	Hook                bool   `json:"hook,omitempty"`
}

// ManagedResources is the answer with many of them.
type ManagedResources struct {
	Items []ManagedResource `json:"items"`
}

// ManagedResources lists what Git asks for beside what is there, hooks left
// out, Secrets masked.
func (s *Service) ManagedResources(ctx context.Context, c *route.Call, q *ResourcesQuery) (*ManagedResources, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	if s.engine() == nil {
		return nil, unavailable()
	}
	all, err := s.engine().Managed(ctx, app)
	if err != nil {
		return nil, err
	}
	out := &ManagedResources{Items: []ManagedResource{}}
	fits := func(want, have string) bool { return want == "" || want == have }
	for i := range all {
		m := &all[i]
		if m.Hook || !fits(q.Namespace, m.Namespace) || !fits(q.ResourceName, m.Name) || !fits(q.Group, m.Group) || !fits(q.Kind, m.Kind) {
			continue
		}
		item, err := s.managed(m)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, *item)
	}
	return out, nil
}

// managed writes the states of an object without secrets: equal values have
// equal masks, so that a difference still shows.
func (s *Service) managed(m *Managed) (*ManagedResource, error) {
	item := &ManagedResource{Group: m.Group, Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, Modified: m.Modified, Hook: m.Hook}
	if m.Live != nil {
		item.ResourceVersion = m.Live.GetResourceVersion()
	}
	target, live := diff.Masked(m.Target, m.Live, s.sensitive())
	predicted, normalized := diff.Masked(m.Predicted, m.Normalized, s.sensitive())
	for _, one := range []struct {
		into *string
		from *unstructured.Unstructured
	}{{&item.TargetState, target}, {&item.LiveState, live}, {&item.PredictedLiveState, predicted}, {&item.NormalizedLiveState, normalized}} {
		*one.into = "null"
		if one.from == nil {
			continue
		}
		raw, err := json.Marshal(one.from.Object)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", m.Kind, m.Name, err)
		}
		*one.into = string(raw)
	}
	return item, nil
}

// ResourceTree gives the tree of an Application.
func (s *Service) ResourceTree(ctx context.Context, c *route.Call, q *ResourcesQuery) (*Tree, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	if s.engine() == nil {
		return nil, unavailable()
	}
	return s.engine().Tree(ctx, app)
}

// WatchTree streams the tree on each change; the right to see it is asked for
// again each time.
func (s *Service) WatchTree(ctx context.Context, c *route.Call, q *ResourcesQuery, send func(*Tree) error) error {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return err
	}
	if s.engine() == nil {
		return unavailable()
	}
	changed, stop := s.engine().Changes(app)
	defer stop()
	for {
		if app, err = s.find(c, q.Target, "get"); err != nil {
			return err
		}
		tree, err := s.engine().Tree(ctx, app)
		if err != nil {
			return err
		}
		if err := send(tree); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// StreamKey makes equal trees one message.
func (t *Tree) StreamKey() string { return "tree" }

// Shared encodes the tree for this stream.
func (t *Tree) Shared(_ string, encode func() ([]byte, error)) ([]byte, error) { return encode() }

// ResourceRequest names a live object of an Application.
type ResourceRequest struct {
	Target
	Namespace    string `json:"namespace,omitempty" query:"namespace"`
	ResourceName string `json:"resourceName,omitempty" query:"resourceName"`
	Version      string `json:"version,omitempty" query:"version"`
	Group        string `json:"group,omitempty" query:"group"`
	Kind         string `json:"kind,omitempty" query:"kind"`
}

func (r ResourceRequest) ref() Ref {
	return Ref{Group: r.Group, Version: r.Version, Kind: r.Kind, Namespace: r.Namespace, Name: r.ResourceName}
}

// fine is a fine-grained action on the object (spec/rbac.md §3).
func (r ResourceRequest) fine(verb string) string {
	return fmt.Sprintf("%s/%s/%s/%s/%s", verb, r.Group, r.Kind, r.Namespace, r.ResourceName)
}

// inheritanceKey of argocd-cm: "false" lets update and delete of an Application
// stand for those of its objects, as before 3.0.
const inheritanceKey = "server.rbac.disableApplicationFineGrainedRBACInheritance"

// findFine finds the Application for a change of one of its objects.
func (s *Service) findFine(c *route.Call, r ResourceRequest, verb string) (*v1alpha1.Application, error) {
	if r.Kind == "" || r.ResourceName == "" {
		return nil, fault.New(fault.InvalidArgument, "the request names no object: set kind and resourceName")
	}
	if s.Hub.Config("argocd-cm")[inheritanceKey] == "false" {
		if app, ok := s.Hub.App(r.AppNamespace, r.Name); ok {
			if c.Can(access.Request{Resource: "applications", Action: verb, Object: s.object(app)}) {
				c.Vouch()
				return app, nil
			}
		}
	}
	return s.find(c, r.Target, r.fine(verb))
}

// live reads an object of the tree.
func (s *Service) live(ctx context.Context, app *v1alpha1.Application, r ResourceRequest) (*unstructured.Unstructured, error) {
	if s.engine() == nil {
		return nil, unavailable()
	}
	if r.Kind == "" || r.ResourceName == "" {
		return nil, fault.New(fault.InvalidArgument, "the request names no object: set kind and resourceName")
	}
	o, err := s.engine().Live(ctx, app, r.ref())
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, fault.New(fault.InvalidArgument, "%s %s %s not found as part of application %s", r.Kind, r.Group, r.ResourceName, app.Name)
	}
	return o, nil
}

// ResourceResponse holds an object as a JSON text.
type ResourceResponse struct {
	Manifest string `json:"manifest,omitempty"`
}

// GetResource gives a live object, Secrets masked.
func (s *Service) GetResource(ctx context.Context, c *route.Call, q *ResourceRequest) (*ResourceResponse, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	o, err := s.live(ctx, app, *q)
	if err != nil {
		return nil, err
	}
	text, err := s.text(o)
	return &ResourceResponse{Manifest: text}, err
}

// PatchResourceRequest patches a live object.
type PatchResourceRequest struct {
	ResourceRequest
	// Patch is the body: a JSON text that holds the patch.
	Patch     string `json:"patch" body:"*"`
	PatchType string `json:"patchType,omitempty" query:"patchType"`
}

// PatchResource patches a live object.
func (s *Service) PatchResource(ctx context.Context, c *route.Call, q *PatchResourceRequest) (*ResourceResponse, error) {
	app, err := s.findFine(c, q.ResourceRequest, "update")
	if err != nil {
		return nil, err
	}
	kind := types.PatchType(q.PatchType)
	switch kind {
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType:
	default:
		return nil, fault.New(fault.InvalidArgument, "patchType %q is not known: use %s, %s or %s", q.PatchType, types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType)
	}
	o, err := s.live(ctx, app, q.ResourceRequest)
	if err != nil {
		return nil, err
	}
	changed, err := s.engine().Patch(ctx, app, o, kind, []byte(q.Patch))
	if err != nil {
		if q.Kind == "Secret" && q.Group == "" { // the text may quote a value
			return nil, fault.Hide(err, fault.InvalidArgument, "failed to patch Secret "+q.ResourceName)
		}
		return nil, err
	}
	c.Did(route.Act{Object: app, Reason: ReasonUpdated, Message: fmt.Sprintf("patched resource %s/%s '%s'", q.Group, q.Kind, q.ResourceName)})
	text, err := s.text(changed)
	return &ResourceResponse{Manifest: text}, err
}

// DeleteResourceRequest deletes a live object.
type DeleteResourceRequest struct {
	ResourceRequest
	Force  bool `json:"force,omitempty" query:"force"`
	Orphan bool `json:"orphan,omitempty" query:"orphan"`
}

// DeleteResource deletes a live object.
func (s *Service) DeleteResource(ctx context.Context, c *route.Call, q *DeleteResourceRequest) (*Empty, error) {
	app, err := s.findFine(c, q.ResourceRequest, "delete")
	if err != nil {
		return nil, err
	}
	o, err := s.live(ctx, app, q.ResourceRequest)
	if err != nil {
		return nil, err
	}
	if err := s.engine().Delete(ctx, app, o, Deletion{Force: q.Force, Orphan: q.Orphan}); err != nil {
		return nil, err
	}
	c.Did(route.Act{Object: app, Reason: ReasonDeleted, Message: fmt.Sprintf("deleted resource %s/%s '%s'", q.Group, q.Kind, q.ResourceName)})
	return &Empty{}, nil
}

// EventsQuery asks for events of an Application or of one of its objects.
type EventsQuery struct {
	Target
	ResourceNamespace string `json:"-" query:"resourceNamespace"`
	ResourceName      string `json:"-" query:"resourceName"`
	ResourceUID       string `json:"-" query:"resourceUID"`
}

// Events lists events: of the Application when no object is named.
func (s *Service) Events(ctx context.Context, c *route.Call, q *EventsQuery) (*corev1.EventList, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	if q.ResourceName == "" && q.ResourceUID == "" {
		var list corev1.EventList
		err := s.Hub.Client.List(ctx, &list, client.InNamespace(app.Namespace), client.MatchingFields{
			"involvedObject.name": app.Name, "involvedObject.namespace": app.Namespace, "involvedObject.uid": string(app.UID),
		}, client.Limit(maxEvents))
		return trimmed(&list), err
	}
	if s.engine() == nil {
		return nil, unavailable()
	}
	uid, err := s.inTree(ctx, app, q)
	if err != nil {
		return nil, err
	}
	list, err := s.engine().Events(ctx, app, corev1.ObjectReference{Namespace: q.ResourceNamespace, Name: q.ResourceName, UID: types.UID(uid)})
	if err != nil {
		return nil, err
	}
	return trimmed(list), nil
}

// maxEvents bounds one list of events.
const maxEvents = 500

// inTree gives the uid of the object that is asked about; whoever gives none
// means the first of the name. It refuses to tell of objects that are not of the
// Application.
func (s *Service) inTree(ctx context.Context, app *v1alpha1.Application, q *EventsQuery) (uid string, err error) {
	tree, err := s.engine().Tree(ctx, app)
	if err != nil {
		return "", err
	}
	for _, set := range [][]Node{tree.Nodes, tree.OrphanedNodes} {
		for i := range set {
			n := &set[i].ResourceRef
			if n.Name == q.ResourceName && n.Namespace == q.ResourceNamespace && (q.ResourceUID == "" || n.UID == q.ResourceUID) {
				return n.UID, nil
			}
		}
	}
	return "", fault.New(fault.InvalidArgument, "%s not found as part of application %s", q.ResourceName, app.Name)
}

func trimmed(list *corev1.EventList) *corev1.EventList {
	if list.Items == nil {
		list.Items = []corev1.Event{}
	}
	for i := range list.Items {
		list.Items[i].ManagedFields = nil
	}
	return list
}
