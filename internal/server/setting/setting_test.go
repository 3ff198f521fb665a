package setting

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cd/sluice/internal/domain/access"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

func service(t *testing.T, cm map[string]string) *Service {
	t.Helper()
	hub, err := store.NewHub("argocd", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &corev1.ConfigMap{Data: cm}
	m.Name, m.Namespace, m.ResourceVersion = "argocd-cm", "argocd", "1"
	hub.ConfigMaps.Put(m)
	return New(Options{Hub: hub, Build: Build{Version: "v3.5.1+x", GitCommit: "abc"}, ReplaceAllowed: true, Plugins: func() []string { return []string{"p"} }, Log: slog.New(slog.DiscardHandler)})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := service(t, map[string]string{
		"url": "https://sluice", "additionalUrls": "- https://other\n", "admin.enabled": "false", "accounts.ci": "apiKey", "statusbadge.enabled": "true", "help.chatUrl": "https://chat",
		"help.download.linux-amd64": "https://dl", "kustomize.buildOptions": "--enable-helm", "kustomize.version.v5": "/bin/k5", "kustomize.path.v5": "/bin/k5", "kustomize.path.v4": "/bin/k4", "ui.bannercontent": "hello", "ga.trackingid": "UA",
		"dex.config":              "connectors:\n- {type: github, id: x, name: GitHub, config: {clientSecret: CANARY}}\n",
		"oidc.config":             "name: idp\nissuer: https://idp\nclientID: $CANARY:id\ncliClientID: cli\nclientSecret: CANARY\nrequestedScopes: [openid]\nrequestedIDTokenClaims: {groups: {essential: true}}\n",
		"resource.customizations": "apps/Deployment:\n  health.lua: one\n  actions: two\n",
		"resource.customizations.health.apps_Deployment": "split",
		"resource.customizations.useOpenLibs.batch_Job":  "true",
		"resource.customizations.ignoreDifferences.all":  "x",

		"resource.customizations.ignoreResourceUpdates.apps_Deployment": "y",
		"resource.customizations.knownTypeFields.batch_Job":             "z",
	})
	show := func(who access.Principal) (map[string]any, string) {
		line := s.Routes()[1]
		answer, err := s.Get(t.Context(), route.NewCall(&line, who, nil), &SettingsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
		return out, string(raw)
	}
	open, text := show(access.Principal{})
	if strings.Contains(text, "CANARY") {
		t.Errorf("a secret shows: %s", text)
	}
	for _, key := range []string{"uiBannerContent", "controllerNamespace", "resourceOverrides", "passwordPattern"} {
		if open[key] != nil {
			t.Errorf("%s is told to strangers", key)
		}
	}
	if open["userLoginsDisabled"] != true || open["appLabelKey"] != "app.kubernetes.io/instance" || open["statusBadgeEnabled"] != true || open["syncWithReplaceAllowed"] != true {
		t.Errorf("settings are %s", text)
	}
	_, text = show(access.Principal{Issuer: "argocd"})
	for _, want := range []string{
		`"dexConfig":{"connectors":[{"name":"GitHub","type":"github"}]}`, `"issuer":"https://idp"`, `"cliClientID":"cli"`, `"idTokenClaims":{"groups":{"essential":true}}`, `"chatText":"Chat now!"`,
		`"binaryUrls":{"linux-amd64":"https://dl"}`, `"kustomizeOptions":{"BuildOptions":"--enable-helm"}`, `"kustomizeVersions":["v4","v5"]`, `"uiBannerContent":"hello"`,
		`"apps/Deployment":{"healthLua":"split","actions":"two","ignoreResourceUpdates":"y"}`, `"batch/Job":{"useOpenLibs":true,"knownTypeFields":"z"}`, `"all":{"ignoreDifferences":"x"}`, `"additionalUrls":["https://other"]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") {
		t.Errorf("a secret shows: %s", text)
	}
}

func TestBrokenSettingsHideNothingElse(t *testing.T) {
	t.Parallel()
	s := service(t, map[string]string{"url": "https://sluice", "additionalUrls": "{", "dex.config": "[", "oidc.config": "x: [", "resource.customizations": "["})
	line := s.Routes()[1]
	answer, err := s.Get(t.Context(), route.NewCall(&line, access.Principal{Issuer: "argocd"}, nil), &SettingsQuery{})
	if err != nil || answer.URL != "https://sluice" || answer.DexConfig != nil || answer.OIDCConfig != nil || answer.UserLoginsDisabled {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	s := service(t, nil)
	line := s.Routes()[0]
	for _, c := range []struct {
		who  access.Principal
		more bool
	}{{access.Principal{}, false}, {access.Principal{Issuer: "argocd"}, true}, {access.Principal{Unrestricted: true}, true}} {
		b, err := s.Version(t.Context(), route.NewCall(&line, c.who, nil), &VersionQuery{})
		if err != nil || b.Version != "v3.5.1+x" || (b.GitCommit != "" && b.Platform != "") != c.more {
			t.Errorf("%+v sees %+v, %v", c.who, b, err)
		}
	}
	plugins, err := s.GetPlugins(t.Context(), nil, &PluginsQuery{})
	if err != nil || len(plugins.Plugins) != 1 || plugins.Plugins[0].Name != "p" {
		t.Errorf("%v, %v", plugins, err)
	}
}

// TestClientsAreNamedByReference: the client of a login may be kept in a Secret;
// its secret stays there, and so does what leads nowhere.
func TestClientsAreNamedByReference(t *testing.T) {
	t.Parallel()
	s := service(t, map[string]string{"oidc.config": "issuer: $idp:issuer\nclientID: $oidc.id\ncliClientID: $oidc.none\nclientSecret: $oidc.secret\n"})
	s.Find = func(secret, key string) (string, bool) {
		v, ok := map[string]string{"idp/issuer": "https://idp\n", "/oidc.id": "sluice", "/oidc.secret": "CANARY"}[secret+"/"+key]
		return v, ok
	}
	line := s.Routes()[1]
	answer, err := s.Get(t.Context(), route.NewCall(&line, access.Principal{}, nil), &SettingsQuery{})
	if err != nil || answer.OIDCConfig.Issuer != "https://idp" || answer.OIDCConfig.ClientID != "sluice" || answer.OIDCConfig.CLIClientID != "" {
		t.Errorf("%+v, %v", answer.OIDCConfig, err)
	}
}
