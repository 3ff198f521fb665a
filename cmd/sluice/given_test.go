package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/adapter/cluster"
)

// TestGivenKeys: flags win over variables; where both are silent, the config
// map speaks.
func TestGivenKeys(t *testing.T) {
	for _, p := range keyFlags {
		t.Setenv(p.variable, "")
	}
	given := func(args ...string) map[string]string {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		registerKeys(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		return givenKeys(flags)
	}
	if got := given(); len(got) != 0 {
		t.Errorf("nobody says anything, yet %v", got)
	}
	params := map[string]string{qpsKey: " 20", burstKey: "x"}
	read := func() map[string]string { return params }
	if got := budget(given(), read)(); got != (cluster.Budget{QPS: 20}) {
		t.Errorf("%+v, want what the config map says", got)
	}
	t.Setenv("ARGOCD_K8S_CLIENT_QPS", "5")
	t.Setenv("ARGOCD_K8S_CLIENT_BURST", "9")
	if got := budget(given(), read)(); got != (cluster.Budget{QPS: 5, Burst: 9}) {
		t.Errorf("%+v, want what the variables say", got)
	}
	t.Setenv("ARGOCD_K8S_CLIENT_QPS", "")
	t.Setenv("ARGOCD_K8S_CLIENT_BURST", "")
	t.Setenv("ARGOCD_SYNC_WAVE_DELAY", "3")
	t.Setenv("ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_FACTOR", "much")
	t.Setenv("ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_CAP_SECONDS", "60")
	want := map[string]string{
		"controller.sync.wave.delay.seconds": "3", "controller.self.heal.backoff.cap.seconds": "90", "controller.self.heal.timeout.seconds": "0",
	}
	if diff := cmp.Diff(want, given("--self-heal-backoff-cap-seconds=90", "--self-heal-timeout-seconds=0")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
