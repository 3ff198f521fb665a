package application

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/internal/domain/action"
	"github.com/sluice-cd/sluice/internal/domain/object"
	"github.com/sluice-cd/sluice/internal/server/fault"
	"github.com/sluice-cd/sluice/internal/server/route"
)

// Actions lists what can be done with an object.
type Actions struct {
	Actions []action.Action `json:"actions"`
}

// ListActions lists the actions of a live object.
func (s *Service) ListActions(ctx context.Context, c *route.Call, q *ResourceRequest) (*Actions, error) {
	app, err := s.find(c, q.Target, "get")
	if err != nil {
		return nil, err
	}
	o, err := s.live(ctx, app, *q)
	if err != nil {
		return nil, err
	}
	list, err := s.engine().Actions(ctx, app, o)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "actions of %s %s: %w", q.Kind, q.ResourceName, err)
	}
	if list == nil {
		list = []action.Action{}
	}
	return &Actions{Actions: list}, nil
}

// RunActionRequest runs an action; its name is the body.
type RunActionRequest struct {
	ResourceRequest
	Action string `json:"action" body:"*"`
}

// RunActionV2Request runs an action with parameters.
type RunActionV2Request struct {
	ResourceRequest
	Action     string            `json:"action"`
	Parameters []ActionParameter `json:"resourceActionParameters,omitempty"`
}

// ActionParameter is a value for a parameter that an action asks for.
type ActionParameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// RunAction runs an action without parameters.
func (s *Service) RunAction(ctx context.Context, c *route.Call, q *RunActionRequest) (*Empty, error) {
	return s.RunActionV2(ctx, c, &RunActionV2Request{ResourceRequest: q.ResourceRequest, Action: q.Action})
}

// RunActionV2 runs an action on a live object. What it creates must be
// permitted by the project.
func (s *Service) RunActionV2(ctx context.Context, c *route.Call, q *RunActionV2Request) (*Empty, error) {
	if q.Action == "" {
		return nil, fault.New(fault.InvalidArgument, "the request names no action: set action")
	}
	app, err := s.find(c, q.Target, fmt.Sprintf("action/%s/%s/%s", q.Group, q.Kind, q.Action))
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(app)
	if err != nil {
		return nil, err
	}
	o, err := s.live(ctx, app, q.ResourceRequest)
	if err != nil {
		return nil, err
	}
	params := map[string]string{}
	for _, p := range q.Parameters {
		params[p.Name] = p.Value
	}
	if err := s.engine().Act(ctx, app, o, Action{Project: project, Name: q.Action, Params: params}); err != nil {
		return nil, fault.New(fault.FailedPrecondition, "action %s of %s %s: %w", q.Action, q.Kind, q.ResourceName, err)
	}
	c.Did(route.Act{Object: app, Reason: ReasonActionRan, Message: fmt.Sprintf("ran action %s on resource %s/%s/%s", q.Action, q.Group, q.Kind, q.ResourceName)})
	return &Empty{}, nil
}

// DiffQuery asks what an apply would change. States of live objects that come
// with the request are not looked at: the cluster knows better.
type DiffQuery struct {
	AppName         string   `json:"-" path:"name"`
	AppNamespace    string   `json:"-" query:"appNamespace"`
	Project         string   `json:"-" query:"project"`
	TargetManifests []string `json:"-" query:"targetManifests"`
}

// DiffResponse is the answer of ServerSideDiff.
type DiffResponse struct {
	Items    []ManagedResource `json:"items"`
	Modified bool              `json:"modified"`
}

// maxDiffs bounds the objects of one request.
const maxDiffs = 500

// ServerSideDiff asks the cluster what an apply of manifests would change. Only
// objects that the Application manages are sent to the cluster.
func (s *Service) ServerSideDiff(ctx context.Context, c *route.Call, q *DiffQuery) (*DiffResponse, error) {
	app, err := s.find(c, Target{Name: q.AppName, AppNamespace: q.AppNamespace, Project: q.Project}, "get")
	if err != nil {
		return nil, err
	}
	if s.engine() == nil {
		return nil, unavailable()
	}
	if len(q.TargetManifests) > maxDiffs {
		return nil, fault.New(fault.InvalidArgument, "targetManifests: more than %d objects", maxDiffs)
	}
	all, err := s.engine().Managed(ctx, app)
	if err != nil {
		return nil, err
	}
	managed := map[object.Key]*Managed{}
	for i := range all {
		managed[object.Key{Group: all[i].Group, Kind: all[i].Kind, Namespace: all[i].Namespace, Name: all[i].Name}] = &all[i]
	}
	out := &DiffResponse{Items: []ManagedResource{}}
	for i, text := range q.TargetManifests {
		target := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), &target.Object); err != nil || target.GetKind() == "" || target.GetName() == "" {
			return nil, fault.New(fault.InvalidArgument, "targetManifests[%d] is no Kubernetes object in JSON", i)
		}
		m := managed[object.KeyOf(target)]
		if m == nil {
			return nil, fault.New(fault.InvalidArgument, "targetManifests[%d]: %s %s is not managed by application %s", i, target.GetKind(), target.GetName(), app.Name)
		}
		predicted, err := s.engine().Predict(ctx, app, target)
		if err != nil {
			return nil, fault.New(fault.FailedPrecondition, "%s %s: %w", target.GetKind(), target.GetName(), err)
		}
		one := *m
		one.Target, one.Predicted = target, predicted
		one.Modified = one.Live == nil || !sameButForServer(one.Live, predicted)
		item, err := s.managed(&one)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, *item)
		out.Modified = out.Modified || one.Modified
	}
	return out, nil
}

// sameButForServer compares two states without what the API server writes by
// itself.
func sameButForServer(a, b *unstructured.Unstructured) bool {
	if b == nil {
		return false
	}
	strip := func(u *unstructured.Unstructured) *unstructured.Unstructured {
		out := u.DeepCopy()
		for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
			unstructured.RemoveNestedField(out.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(out.Object, "status")
		return out
	}
	return equality.Semantic.DeepEqual(strip(a).Object, strip(b).Object)
}
