package config_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestAlertRules lets Prometheus's own promtool play the alert rules, and
// requires that the loop that advances rollouts has every metric they name.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("the program promtool is missing: install the Debian package prometheus (%v)", err)
	}
	for _, args := range [][]string{{"check", "rules", "rollouts.yaml"}, {"test", "rules", "rollouts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = "alerts"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	rules, err := os.ReadFile("alerts/rollouts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := os.ReadFile("../internal/controller/advance/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`argocd_appset_(\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(metrics), `"`+name[1]+`"`) {
			t.Errorf("no metric %s", name[0])
		}
	}
}
