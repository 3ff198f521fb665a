package relay

import (
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/rollout"
	"github.com/sluice-cd/sluice/internal/server/application"
	"github.com/sluice-cd/sluice/internal/server/cluster"
	"github.com/sluice-cd/sluice/internal/server/fault"
)

// The methods.
const (
	pathClusters = "/v1/engine/clusters"
	pathVersions = "/v1/engine/capabilities"
	pathManaged  = "/v1/engine/managed"
	pathTree     = "/v1/engine/tree"
	pathChanges  = "/v1/engine/changes"
	pathLive     = "/v1/engine/live"
	pathPatch    = "/v1/engine/patch"
	pathDelete   = "/v1/engine/delete"
	pathActions  = "/v1/engine/actions"
	pathAct      = "/v1/engine/act"
	pathEvents   = "/v1/engine/events"
	pathLogs     = "/v1/engine/logs"
	pathPredict  = "/v1/engine/predict"

	pathView    = "/v1/sets/view"
	pathPlan    = "/v1/sets/plan"
	pathPlanOf  = "/v1/sets/plan-of"
	pathAsk     = "/v1/sets/ask"
	pathPreview = "/v1/sets/preview"
)

// Limits of what travels: a request, an answer, and calls that run at a time.
const (
	maxRequest = 16 << 20
	maxAnswer  = 256 << 20
	maxCalls   = 128
)

// question is about an Application or an object of it; each method reads what
// it needs.
type question struct {
	Server    string                  `json:"server,omitempty"`
	App       *v1alpha1.Application   `json:"app,omitempty"`
	Ref       application.Ref         `json:"ref,omitzero"`
	Object    json.RawMessage         `json:"object,omitempty"`
	PatchType types.PatchType         `json:"patchType,omitempty"`
	Patch     []byte                  `json:"patch,omitempty"`
	Deletion  application.Deletion    `json:"deletion,omitzero"`
	Action    *application.Action     `json:"action,omitempty"`
	About     *corev1.ObjectReference `json:"about,omitempty"`
	Logs      *application.LogSource  `json:"logs,omitempty"`
}

// setQuestion is about an ApplicationSet.
type setQuestion struct {
	Key  types.NamespacedName     `json:"key,omitzero"`
	Set  *v1alpha1.ApplicationSet `json:"set,omitempty"`
	Ask  rollout.Ask              `json:"ask,omitzero"`
	User string                   `json:"user,omitempty"`
}

type versions struct {
	Kube string   `json:"kube"`
	APIs []string `json:"apis"`
}

type clusterStates map[string]cluster.Info

// object is one on a cluster; nil travels as null.
type object struct{ *unstructured.Unstructured }

// MarshalJSON writes the object as it is.
func (o object) MarshalJSON() ([]byte, error) {
	if o.Unstructured == nil {
		return []byte("null"), nil
	}
	return json.Marshal(o.Object)
}

// UnmarshalJSON keeps whole numbers whole.
func (o *object) UnmarshalJSON(raw []byte) error {
	var m map[string]any
	if err := utiljson.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("object: %w", err)
	}
	if o.Unstructured = nil; m != nil {
		o.Unstructured = &unstructured.Unstructured{Object: m}
	}
	return nil
}

// managed is application.Managed with objects that travel.
type managed struct {
	Group      string `json:"group,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	Target     object `json:"target"`
	Live       object `json:"live"`
	Normalized object `json:"normalized"`
	Predicted  object `json:"predicted"`
	Hook       bool   `json:"hook,omitempty"`
	Modified   bool   `json:"modified,omitempty"`
}

func toWire(m application.Managed) managed {
	return managed{m.Group, m.Kind, m.Namespace, m.Name, object{m.Target}, object{m.Live}, object{m.Normalized}, object{m.Predicted}, m.Hook, m.Modified}
}

func fromWire(m managed) application.Managed {
	return application.Managed{
		Group: m.Group, Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, Hook: m.Hook, Modified: m.Modified,
		Target: m.Target.Unstructured, Live: m.Live.Unstructured, Normalized: m.Normalized.Unstructured, Predicted: m.Predicted.Unstructured,
	}
}

// lean leaves out of an Application what no method needs.
func lean(app *v1alpha1.Application) *v1alpha1.Application {
	out := &v1alpha1.Application{ObjectMeta: app.ObjectMeta, Spec: app.Spec}
	out.ManagedFields = nil
	return out
}

// failure is an answer that says why there is none.
type failure struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"error"`
	// Refused is why a request to a rollout was refused.
	Refused rollout.Refused `json:"refused,omitempty"`
}

// errorOf is what the caller in this process would have been given.
func (f *failure) errorOf() error {
	switch {
	case f.Refused != "":
		return &rollout.Refusal{Why: f.Refused, Text: f.Message}
	case f.Code == 0:
		return errors.New(f.Message)
	}
	return fault.New(f.Code, "%s", f.Message)
}

// plain marks an error whose text is for people although it has no code.
type plain struct{ error }

// forPeople makes an error plain that the caller gives to people whatever it is.
func forPeople(err error) error {
	if err == nil {
		return nil
	}
	return plain{err}
}

// asFailure says what the caller may read. An error without a code keeps its
// text only when it is plain.
func asFailure(err error) *failure {
	var refusal *rollout.Refusal
	if errors.As(err, &refusal) {
		return &failure{fault.FailedPrecondition, refusal.Text, refusal.Why}
	}
	var coded *fault.Error
	if p := (plain{}); errors.As(err, &p) && !errors.As(err, &coded) {
		return &failure{Message: p.Error()}
	}
	code, message := fault.Of(err)
	return &failure{Code: code, Message: message}
}
