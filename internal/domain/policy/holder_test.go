package policy_test

import (
	"testing"

	"github.com/sluice-cd/sluice/api/v1alpha1"
	"github.com/sluice-cd/sluice/internal/domain/policy"
)

func TestHolder(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name      string
		automated *v1alpha1.SyncPolicyAutomated
		held      string
		want      string
	}{
		{"held", &v1alpha1.SyncPolicyAutomated{Enabled: &no}, "payment", "payment"},
		{"switched off by a person", &v1alpha1.SyncPolicyAutomated{Enabled: &no}, "", ""},
		{"switched on again", &v1alpha1.SyncPolicyAutomated{Enabled: &yes}, "payment", ""},
		{"on by silence", &v1alpha1.SyncPolicyAutomated{}, "payment", ""},
		{"no automated block", nil, "payment", ""},
	} {
		app := &v1alpha1.Application{}
		app.Spec.SyncPolicy = &v1alpha1.SyncPolicy{Automated: c.automated}
		if c.held != "" {
			app.Annotations = map[string]string{v1alpha1.AnnotationRolloutHeldBy: c.held}
		}
		if got := policy.Holder(app); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if policy.Holder(&v1alpha1.Application{}) != "" {
		t.Error("an Application without policy is held")
	}
}
