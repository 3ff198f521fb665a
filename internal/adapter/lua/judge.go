package lua

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/customization"
	"github.com/sluice-cd/sluice/internal/domain/health"
)

// script is a health script of one kind.
type script struct {
	runner Runner
	task   Task
}

var _ health.Script = (*script)(nil)

// Judge runs the script on an object.
func (s *script) Judge(ctx context.Context, o *unstructured.Unstructured) (health.Status, bool, error) {
	t := s.task
	t.Object = o.Object
	out, err := s.runner.Run(ctx, t)
	if err != nil {
		return health.Status{}, false, err
	}
	return status(out)
}

// maxHealthMessage bounds what a script says of an object, in bytes: it is
// stored in the status of the Application.
const maxHealthMessage = 4096

// status reads the answer of a health script (spec/diff-health.md §10).
func status(out any) (health.Status, bool, error) {
	fields, ok := out.(map[string]any)
	if out == nil || ok && len(fields) == 0 {
		return health.Status{}, false, nil
	}
	code, _ := fields["status"].(string)
	message := ""
	switch m := fields["message"].(type) {
	case string:
		message = m
	case int64:
		message = strconv.FormatInt(m, 10)
	case float64, bool:
		message = fmt.Sprint(m)
	}
	if len(message) > maxHealthMessage {
		message = message[:maxHealthMessage] + "..."
	}
	if !health.Valid(v1alpha1.HealthStatusCode(code)) {
		return health.Status{Code: health.Unknown, Message: "Lua returned an invalid health status"}, true, nil
	}
	return health.Status{Code: v1alpha1.HealthStatusCode(code), Message: message}, true, nil
}

// Custom finds the health scripts of the settings.
type Custom struct {
	set    *customization.Set
	runner Runner
}

var _ health.Rules = Custom{}

// NewCustom runs the scripts of a set with a runner that bounds memory.
func NewCustom(set *customization.Set, r Runner) Custom { return Custom{set, r} }

// Find gives the script of a kind: its own key before wildcards.
func (c Custom) Find(group, kind string) health.Script {
	k, ok := c.set.Find(group, kind, customization.Scripted)
	if !ok {
		return nil
	}
	return &script{c.runner, Task{Name: "health script " + k.Key + " of argocd-cm", Source: k.Health, OpenLibs: k.OpenLibs}}
}
