package main

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sluice-cd/sluice/internal/adapter/cluster"
)

// keyFlag sets a key of argocd-cmd-params-cm from the command line, or from a
// variable (spec/config.md §5).
type keyFlag struct {
	flag, variable, key, help string
	fallback                  int
}

// keyFlags are those of the pauses of syncs, and variables for which there is no
// flag.
var keyFlags = []keyFlag{
	{"self-heal-timeout-seconds", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_TIMEOUT_SECONDS", "controller.self.heal.timeout.seconds", "seconds between two self-heals, the same each time; 0 lets them grow", 0},
	{"self-heal-backoff-timeout-seconds", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_TIMEOUT_SECONDS", "controller.self.heal.backoff.timeout.seconds", "seconds after the first self-heal of a target; 0 takes --self-heal-timeout-seconds", 2},
	{"self-heal-backoff-factor", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_FACTOR", "controller.self.heal.backoff.factor", "growth of the pause between self-heals", 3},
	{"self-heal-backoff-cap-seconds", "ARGOCD_APPLICATION_CONTROLLER_SELF_HEAL_BACKOFF_CAP_SECONDS", "controller.self.heal.backoff.cap.seconds", "seconds that the pause between self-heals grows to", 300},
	{"", "ARGOCD_SYNC_WAVE_DELAY", "controller.sync.wave.delay.seconds", "", 0},
	{"", "ARGOCD_K8S_CLIENT_QPS", qpsKey, "", 0},
	{"", "ARGOCD_K8S_CLIENT_BURST", burstKey, "", 0},
}

// Keys that bound the requests to each cluster. Nothing does unless they are
// set: connections slow down by themselves where an API server asks for it.
const (
	qpsKey   = "controller.k8s.client.qps"
	burstKey = "controller.k8s.client.burst"
)

// budget is that of each cluster as flags, variables and argocd-cmd-params-cm say
// it now.
func budget(given map[string]string, params func() map[string]string) func() cluster.Budget {
	number := func(key string) int {
		text, ok := given[key]
		if !ok {
			text = params()[key]
		}
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return 0
		}
		return n
	}
	return func() cluster.Budget { return cluster.Budget{QPS: number(qpsKey), Burst: number(burstKey)} }
}

func registerKeys(flags *pflag.FlagSet) {
	for _, p := range keyFlags {
		if p.flag != "" {
			flags.Uint(p.flag, uint(p.fallback), p.help+"; env "+p.variable+"; also "+p.key+" of argocd-cmd-params-cm")
		}
	}
}

// givenKeys are the keys for which a flag or a variable speaks; a variable
// that holds no number does not.
func givenKeys(flags *pflag.FlagSet) map[string]string {
	out := map[string]string{}
	for _, p := range keyFlags {
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
