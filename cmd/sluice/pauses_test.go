package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestGivenPauses: flags win over variables; where both are silent, the config
// map speaks.
func TestGivenPauses(t *testing.T) {
	for _, p := range pauseFlags {
		t.Setenv(p.variable, "")
	}
	given := func(args ...string) map[string]string {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		registerPauses(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		return givenPauses(flags)
	}
	if got := given(); len(got) != 0 {
		t.Errorf("nobody says anything, yet %v", got)
	}
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
