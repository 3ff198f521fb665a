package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cd/sluice/internal/cli/admin/verify"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		group   string
		config  map[string]string
		secret  map[string][]byte
		summary []string
		// problems hold parts of what must be said, in order.
		problems []string
	}{
		"nothing is set": {group: "general", summary: []string{"SSO is not configured", "url is not set"}},
		"OIDC": {group: "general", config: map[string]string{"url": "https://cd.example.com", "oidc.config": "issuer: https://id.example.com\nclientID: cd\nclientSecret: $oidc.secret"},
			summary: []string{"OIDC is configured"}, problems: []string{"oidc.secret"}},
		"Dex without url": {group: "general", config: map[string]string{"dex.config": "connectors: []"}, summary: []string{"SSO is not configured", "url is not set"}, problems: []string{"dex.config needs key url"}},
		"forms": {group: "general", config: map[string]string{
			"url": "cd.example.com", "exec.enabled": "yes", "timeout.reconciliation": "3", "webhook.refresh.jitter": "1h30m", "server.maxPodLogsToRender": "-1",
			"application.resourceTrackingMethod": "labels", "additionalUrls": "- ftp://x", "globalProjects": "- {}", "resource.exclusions": "{", "resource.respectRBAC": "on",
		}, summary: []string{"SSO is not configured"}, problems: []string{
			"exec.enabled", "timeout.reconciliation", "webhook.refresh.jitter", "server.maxPodLogsToRender", "url is", "application.resourceTrackingMethod",
			"ftp://x", "globalProjects[0]", "resource.respectRBAC", "resource.exclusions",
		}},
		"accounts": {group: "accounts", config: map[string]string{"accounts.ci": "apiKey", "accounts.ann": "login", "users.session.duration": "x"},
			secret: map[string][]byte{"admin.password": []byte("$2a$10$AAAAAAAAAAAAAAAAAAAAAOqTqhNeoNy3iJoTbbUbwJiq.pQXa0nZ6")}, summary: []string{"3 accounts", "account ann has no password"}, problems: []string{"users.session.duration"}},
		"kustomize": {group: "kustomize", config: map[string]string{"kustomize.buildOptions.v1": "--network", "kustomize.path.v1": "/bin/k", "kustomize.version.v1": "/bin/k"},
			summary: []string{"default options are used", "1 version"}, problems: []string{"kustomize.buildOptions.v1", "declares version v1 a second time"}},
		"overrides": {group: "resource-overrides", config: map[string]string{
			"resource.customizations.health.example.com_A": "return hs", "resource.customizations.health.example.com_B": "broken",
			"resource.customizations.ignoreDifferences.example.com_A": "jqPathExpressions: ['.a.[']", "resource.customizations.ignoreResourceUpdates.all": "{",
			"resource.customizations.colour.A": "x", "resource.customizations.actions.C": "definitions: [{name: a, action.lua: broken}]",
		}, summary: []string{"4 resource overrides"}, problems: []string{
			"colour", "action a of C", "health script of example.com/B", "example.com_A\": bad jq", "ignoreResourceUpdates.all",
		}},
	} {
		s := &verify.Settings{
			Config: c.config, Secret: c.secret, Find: func(string, string) (string, bool) { return "", false },
			Query: func(e string) error {
				if strings.Contains(e, "[") {
					return errors.New("bad jq")
				}
				return nil
			},
			Script: func(name, source string) error {
				if source == "broken" {
					return errors.New(name + " is broken")
				}
				return nil
			},
		}
		got, ok := verify.Group(c.group, s)
		if !ok {
			t.Fatalf("%s: no group %s", name, c.group)
		}
		if diff := cmp.Diff(c.summary, got.Summary); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for i, p := range got.Problems {
			if i >= len(c.problems) || !strings.Contains(p.Error(), c.problems[i]) {
				t.Errorf("%s: problem %d is: %v", name, i, p)
			}
		}
		if len(got.Problems) < len(c.problems) {
			t.Errorf("%s: %d problems, want %d", name, len(got.Problems), len(c.problems))
		}
	}
	if _, ok := verify.Group("genral", nil); ok {
		t.Error("a group that does not exist is verified")
	}
}
