package main

import (
	"os"
	"strconv"

	"github.com/spf13/pflag"
)

// pauseFlag sets a key of argocd-cmd-params-cm from the command line, or from a
// variable (spec/config.md §5).
type pauseFlag struct {
	flag, variable, key, help string
	fallback                  int
}

// pauseFlags are those of the pauses of syncs. That between waves has a variable
// alone.
var pauseFlags = []pauseFlag{
	{"self-heal-timeout-seconds", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_TIMEOUT_SECONDS", "controller.self.heal.timeout.seconds", "seconds between two self-heals, the same each time; 0 lets them grow", 0},
	{"self-heal-backoff-timeout-seconds", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_TIMEOUT_SECONDS", "controller.self.heal.backoff.timeout.seconds", "seconds after the first self-heal of a target; 0 takes --self-heal-timeout-seconds", 2},
	{"self-heal-backoff-factor", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_FACTOR", "controller.self.heal.backoff.factor", "growth of the pause between self-heals", 3},
	{"self-heal-backoff-cap-seconds", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_CAP_SECONDS", "controller.self.heal.backoff.cap.seconds", "seconds that the pause between self-heals grows to", 300},
	{"", "ARGOCD_SYNC_WAVE_DELAY", "controller.sync.wave.delay.seconds", "", 0},
}

func registerPauses(flags *pflag.FlagSet) {
	for _, p := range pauseFlags {
		if p.flag != "" {
			flags.Uint(p.flag, uint(p.fallback), p.help+"; env "+p.variable+"; also "+p.key+" of argocd-cmd-params-cm")
		}
	}
}

// givenPauses are the keys for which a flag or a variable speaks; a variable
// that holds no number does not.
func givenPauses(flags *pflag.FlagSet) map[string]string {
	out := map[string]string{}
	for _, p := range pauseFlags {
		if f := flags.Lookup(p.flag); f != nil && f.Changed {
			out[p.key] = f.Value.String()
			continue
		}
		if n, err := strconv.Atoi(os.Getenv(p.variable)); err == nil && n >= 0 {
			out[p.key] = strconv.Itoa(n)
		}
	}
	return out
}
