// Package setting answers with what clients need to know of the installation:
// version, settings and the names of plugins (spec/api.md §3, others).
package setting

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Options of a Service.
type Options struct {
	Hub   *store.Hub
	Build Build
	// ReplaceAllowed is --sync-with-replace-allowed.
	ReplaceAllowed bool
	// Plugins lists the config-management plugins; nil is none.
	Plugins func() []string
	// Find resolves references to Secrets; nil resolves none.
	Find reference.Lookup
	Log  *slog.Logger
}

// Service answers for settings.
type Service struct{ Options }

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

// Routes are those of settings and version.
func (s *Service) Routes() route.Table {
	return route.Table{
		route.Unary(route.Spec{Method: "GET", Path: "/api/version", RPC: "version.VersionService/Version", Rule: route.Public(),
			Summary: "Which program answers."}, s.Version),
		route.Unary(route.Spec{Method: "GET", Path: "/api/v1/settings", RPC: "cluster.SettingsService/Get", Rule: route.Public(),
			Summary: "What clients need to know of the installation."}, s.Get),
		route.Unary(route.Spec{Method: "GET", Path: "/api/v1/settings/plugins", RPC: "cluster.SettingsService/GetPlugins", Rule: route.Authenticated(),
			Summary: "Names of config-management plugins."}, s.GetPlugins),
	}
}

// Connector is a way to log in by Dex.
type Connector struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Dex lists the ways to log in by Dex.
type Dex struct {
	Connectors []Connector `json:"connectors"`
}

// OIDC is what a client needs for a login by an OIDC provider.
type OIDC struct {
	Name                     string           `json:"name,omitempty"`
	Issuer                   string           `json:"issuer,omitempty"`
	ClientID                 string           `json:"clientID,omitempty"`
	CLIClientID              string           `json:"cliClientID,omitempty"`
	Scopes                   []string         `json:"scopes,omitempty"`
	IDTokenClaims            map[string]Claim `json:"idTokenClaims,omitempty"`
	EnablePKCEAuthentication bool             `json:"enablePKCEAuthentication,omitempty"`
}

// Claim is a claim that is asked for.
type Claim struct {
	Essential bool     `json:"essential,omitempty"`
	Value     string   `json:"value,omitempty"`
	Values    []string `json:"values,omitempty"`
}

// Analytics is where the UI counts its visitors.
type Analytics struct {
	TrackingID     string `json:"trackingID,omitempty"`
	AnonymizeUsers bool   `json:"anonymizeUsers"`
}

// Help is where people find help.
type Help struct {
	ChatURL    string            `json:"chatUrl,omitempty"`
	ChatText   string            `json:"chatText,omitempty"`
	BinaryURLs map[string]string `json:"binaryUrls,omitempty"`
}

// KustomizeOptions are those of all kustomize sources.
type KustomizeOptions struct {
	BuildOptions string `json:",omitempty"`
}

// Override is a customization of a kind.
type Override struct {
	HealthLua         string `json:"healthLua,omitempty"`
	UseOpenLibs       bool   `json:"useOpenLibs,omitempty"`
	Actions           string `json:"actions,omitempty"`
	IgnoreDifferences string `json:"ignoreDifferences,omitempty"`
	// IgnoreResourceUpdates and KnownTypeFields are YAML as it was written.
	IgnoreResourceUpdates string `json:"ignoreResourceUpdates,omitempty"`
	KnownTypeFields       string `json:"knownTypeFields,omitempty"`
}

// Settings is the answer.
type Settings struct {
	URL                       string              `json:"url,omitempty"`
	AdditionalURLs            []string            `json:"additionalUrls,omitempty"`
	DexConfig                 *Dex                `json:"dexConfig,omitempty"`
	OIDCConfig                *OIDC               `json:"oidcConfig,omitempty"`
	AppLabelKey               string              `json:"appLabelKey,omitempty"`
	TrackingMethod            string              `json:"trackingMethod,omitempty"`
	InstallationID            string              `json:"installationID,omitempty"`
	StatusBadgeEnabled        bool                `json:"statusBadgeEnabled,omitempty"`
	StatusBadgeRootURL        string              `json:"statusBadgeRootUrl,omitempty"`
	GoogleAnalytics           Analytics           `json:"googleAnalytics"`
	Help                      Help                `json:"help"`
	UserLoginsDisabled        bool                `json:"userLoginsDisabled,omitempty"`
	KustomizeVersions         []string            `json:"kustomizeVersions,omitempty"`
	KustomizeOptions          *KustomizeOptions   `json:"kustomizeOptions,omitempty"`
	UICSSURL                  string              `json:"uiCssURL,omitempty"`
	ExecEnabled               bool                `json:"execEnabled,omitempty"`
	AppsInAnyNamespaceEnabled bool                `json:"appsInAnyNamespaceEnabled,omitempty"`
	ImpersonationEnabled      bool                `json:"impersonationEnabled,omitempty"`
	HydratorEnabled           bool                `json:"hydratorEnabled,omitempty"`
	SyncWithReplaceAllowed    bool                `json:"syncWithReplaceAllowed,omitempty"`
	UIBannerContent           string              `json:"uiBannerContent,omitempty"`
	UIBannerURL               string              `json:"uiBannerURL,omitempty"`
	UIBannerPermanent         bool                `json:"uiBannerPermanent,omitempty"`
	UIBannerPosition          string              `json:"uiBannerPosition,omitempty"`
	ControllerNamespace       string              `json:"controllerNamespace,omitempty"`
	ResourceOverrides         map[string]Override `json:"resourceOverrides,omitempty"`
	PasswordPattern           string              `json:"passwordPattern,omitempty"`
}

// SettingsQuery asks for nothing.
type SettingsQuery struct{}

// defaultPasswordPattern is that of passwordPattern (spec/config.md §2.2).
const defaultPasswordPattern = "^.{8,32}$"

// Get reads the settings; some only for those who are logged in.
func (s *Service) Get(_ context.Context, c *route.Call, _ *SettingsQuery) (*Settings, error) {
	cm, params := s.Hub.Config("argocd-cm"), s.Hub.Config("argocd-cmd-params-cm")
	on := func(key string) bool { b, _ := strconv.ParseBool(cm[key]); return b }
	out := &Settings{
		URL: cm["url"], AdditionalURLs: urls(cm["additionalUrls"]), AppLabelKey: or(cm["application.instanceLabelKey"], "app.kubernetes.io/instance"),
		TrackingMethod: or(cm["application.resourceTrackingMethod"], "annotation"), InstallationID: cm["installationID"],
		StatusBadgeEnabled: on("statusbadge.enabled"), StatusBadgeRootURL: cm["statusbadge.url"],
		GoogleAnalytics:    Analytics{TrackingID: cm["ga.trackingid"], AnonymizeUsers: cm["ga.anonymizeusers"] != "false"},
		Help:               Help{ChatURL: cm["help.chatUrl"], ChatText: chatText(cm), BinaryURLs: binaries(cm)},
		UserLoginsDisabled: !anyLogin(cm), UICSSURL: cm["ui.cssurl"], ExecEnabled: on("exec.enabled"), AppsInAnyNamespaceEnabled: s.Hub.Anywhere(),
		ImpersonationEnabled: on("application.sync.impersonation.enabled"), HydratorEnabled: params["hydrator.enabled"] == "true",
		SyncWithReplaceAllowed: s.ReplaceAllowed, DexConfig: dex(cm["dex.config"]), OIDCConfig: s.oidc(cm["oidc.config"]),
	}
	if options := cm["kustomize.buildOptions"]; options != "" {
		out.KustomizeOptions = &KustomizeOptions{BuildOptions: options}
	}
	for key := range cm {
		for _, prefix := range []string{"kustomize.path.", "kustomize.version."} { // the latter is the older spelling
			if v, ok := strings.CutPrefix(key, prefix); ok && v != "" {
				out.KustomizeVersions = append(out.KustomizeVersions, v)
			}
		}
	}
	slices.Sort(out.KustomizeVersions)
	out.KustomizeVersions = slices.Compact(out.KustomizeVersions)
	if !c.Who.LoggedIn() {
		return out, nil
	}
	out.UIBannerContent, out.UIBannerURL, out.UIBannerPermanent, out.UIBannerPosition = cm["ui.bannercontent"], cm["ui.bannerurl"], on("ui.bannerpermanent"), cm["ui.bannerposition"]
	out.ControllerNamespace, out.PasswordPattern = s.Hub.Namespace, or(cm["passwordPattern"], defaultPasswordPattern)
	out.ResourceOverrides = overrides(cm)
	return out, nil
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func urls(text string) []string {
	var out []string
	if yaml.Unmarshal([]byte(text), &out) != nil {
		return nil
	}
	return out
}

func chatText(cm map[string]string) string {
	if cm["help.chatUrl"] == "" {
		return cm["help.chatText"]
	}
	return or(cm["help.chatText"], "Chat now!")
}

func binaries(cm map[string]string) map[string]string {
	var out map[string]string
	for key, value := range cm {
		if platform, ok := strings.CutPrefix(key, "help.download."); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[platform] = value
		}
	}
	return out
}

// anyLogin says that some local account can log in with a password.
func anyLogin(cm map[string]string) bool {
	if cm["admin.enabled"] != "false" {
		return true
	}
	for key, value := range cm {
		parts := strings.Split(key, ".")
		if len(parts) == 2 && parts[0] == "accounts" && cm[key+".enabled"] != "false" && strings.Contains(value, "login") {
			return true
		}
	}
	return false
}

// dex names the connectors of dex.config; their settings are secrets.
func dex(text string) *Dex {
	var config struct {
		Connectors []Connector `json:"connectors"`
	}
	if text == "" || yaml.Unmarshal([]byte(text), &config) != nil || len(config.Connectors) == 0 {
		return nil
	}
	return &Dex{Connectors: config.Connectors}
}

// oidc is what clients need of oidc.config, never its secret. Who the client is
// everybody sees who begins a login; it may be kept in a Secret all the same.
func (s *Service) oidc(text string) *OIDC {
	var config struct {
		Name                     string           `json:"name"`
		Issuer                   string           `json:"issuer"`
		ClientID                 string           `json:"clientID"`
		CLIClientID              string           `json:"cliClientID"`
		RequestedScopes          []string         `json:"requestedScopes"`
		RequestedIDTokenClaims   map[string]Claim `json:"requestedIDTokenClaims"`
		EnablePKCEAuthentication bool             `json:"enablePKCEAuthentication"`
	}
	if text == "" || yaml.Unmarshal([]byte(text), &config) != nil || config.Issuer == "" {
		return nil
	}
	known := func(text string) string { // a reference that leads nowhere is nobody's business
		switch {
		case !strings.HasPrefix(text, "$"):
			return text
		case s.Find == nil:
			return ""
		}
		found, missing := reference.Resolve(text, s.Find)
		if missing != "" {
			return ""
		}
		return found
	}
	return &OIDC{
		Name: known(config.Name), Issuer: known(config.Issuer), ClientID: known(config.ClientID), CLIClientID: known(config.CLIClientID), Scopes: config.RequestedScopes,
		IDTokenClaims: config.RequestedIDTokenClaims, EnablePKCEAuthentication: config.EnablePKCEAuthentication,
	}
}

// PluginsQuery asks for nothing.
type PluginsQuery struct{}

// Plugin is a config-management plugin.
type Plugin struct {
	Name string `json:"name"`
}

// Plugins is the answer with many of them.
type Plugins struct {
	Plugins []Plugin `json:"plugins"`
}

// GetPlugins lists the plugins that the renderer reaches.
func (s *Service) GetPlugins(_ context.Context, _ *route.Call, _ *PluginsQuery) (*Plugins, error) {
	out := &Plugins{Plugins: []Plugin{}}
	if s.Plugins == nil {
		return out, nil
	}
	for _, name := range s.Plugins() {
		out.Plugins = append(out.Plugins, Plugin{Name: name})
	}
	return out, nil
}
