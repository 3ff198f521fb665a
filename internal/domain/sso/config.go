package sso

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Claim is what is asked of the provider for one claim of the ID token.
type Claim struct {
	Essential bool     `json:"essential,omitempty"`
	Value     string   `json:"value,omitempty"`
	Values    []string `json:"values,omitempty"`
}

// Config is a provider that people log in at.
type Config struct {
	Name, Issuer          string
	ClientID, CLIClientID string
	ClientSecret          repo.Secret
	Scopes                []string
	Claims                map[string]Claim
	// Audiences are accepted in ID tokens; WithoutAudience accepts tokens that
	// have none.
	Audiences       []string
	WithoutAudience bool
	// LogoutURL may hold {{token}} and {{logoutRedirectURL}}.
	LogoutURL  string
	RootCA     string
	DomainHint string
	// UserInfoGroups takes groups from the user info endpoint, kept for
	// UserInfoCache.
	UserInfoGroups                bool
	UserInfoBaseURL, UserInfoPath string
	UserInfoCache                 time.Duration
	Azure                         Azure
	// RefreshBefore is how long before its end an ID token is refreshed.
	RefreshBefore time.Duration
	// Insecure does not verify certificates.
	Insecure bool
	// Dex says that the provider is the Dex beside the server.
	Dex bool
}

// Azure is what only Microsoft Entra ID needs.
type Azure struct {
	// Overage asks Graph for groups that are too many for an ID token, which
	// is remembered for Cache.
	Overage bool
	// Graph is the address of Microsoft Graph.
	Graph string
	Cache time.Duration
}

// graphHosts are those of Microsoft Graph, world-wide and of national clouds
// (spec/config.md §2.2): no other may be shown the tokens of users.
var graphHosts = []string{"graph.microsoft.com", "graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn", "graph.microsoft.de"}

const defaultGraph = "https://graph.microsoft.com/v1.0"

// raw is oidc.config as it is written.
type raw struct {
	Name                   string           `json:"name"`
	Issuer                 string           `json:"issuer"`
	ClientID               string           `json:"clientID"`
	ClientSecret           string           `json:"clientSecret"`
	CLIClientID            string           `json:"cliClientID"`
	RequestedScopes        []string         `json:"requestedScopes"`
	RequestedIDTokenClaims map[string]Claim `json:"requestedIDTokenClaims"`
	AllowedAudiences       []string         `json:"allowedAudiences"`
	SkipAudienceCheck      bool             `json:"skipAudienceCheckWhenTokenHasNoAudience"`
	LogoutURL              string           `json:"logoutURL"`
	RootCA                 string           `json:"rootCA"`
	DomainHint             string           `json:"domainHint"`
	EnableUserInfoGroups   bool             `json:"enableUserInfoGroups"`
	UserInfoBaseURL        string           `json:"userInfoBaseURL"`
	UserInfoPath           string           `json:"userInfoPath"`
	UserInfoCache          string           `json:"userInfoCacheExpiration"`
	RefreshTokenThreshold  string           `json:"refreshTokenThreshold"`
	Azure                  rawAzure         `json:"azure"`
}

// rawAzure is its field azure.
type rawAzure struct {
	EnableUserGroupOverageClaim          bool   `json:"enableUserGroupOverageClaim"`
	GraphAPIEndpoint                     string `json:"graphApiEndpoint"`
	UserGroupOverageClaimCacheExpiration string `json:"userGroupOverageClaimCacheExpiration"`
}

// parse gives what Azure needs; with an address that is none of Graph nothing
// is asked there.
func (r rawAzure) parse() (Azure, []error) {
	a := Azure{Overage: r.EnableUserGroupOverageClaim, Graph: cmp.Or(r.GraphAPIEndpoint, defaultGraph), Cache: defaultUserInfoCache}
	u, err := url.Parse(a.Graph)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !slices.Contains(graphHosts, strings.ToLower(u.Host)) {
		return Azure{}, []error{fmt.Errorf("ConfigMap/argocd-cm: oidc.config: azure.graphApiEndpoint is no https URL of Microsoft Graph like %q: groups beyond the ID token are not asked for", defaultGraph)}
	}
	return a, nil
}

// Scopes that are asked for where none are configured.
var defaultScopes = []string{"openid", "profile", "email", "groups"}

const defaultUserInfoCache = 5 * time.Minute

// Parse reads argocd-cm; key is server.secretkey, from which the secret of the
// client at Dex is made. No provider is nil. The problems name the key and hold
// no value; with an error in it, oidc.config counts as absent.
func Parse(cm map[string]string, find reference.Lookup, key repo.Secret) (*Config, []error) {
	var problems []error
	if text := strings.TrimSpace(cm["oidc.config"]); text != "" {
		c, missing, err := parseOIDC(text, find)
		problems = append(problems, missing...)
		if err == nil {
			c.Insecure = strings.TrimSpace(cm["oidc.tls.insecure.skip.verify"]) == "true"
			return c, problems
		}
		problems = append(problems, fmt.Errorf("ConfigMap/argocd-cm: key oidc.config %w: it counts as absent", err))
	}
	if strings.TrimSpace(cm["dex.config"]) == "" {
		return nil, problems
	}
	base, err := baseURL(cm["url"])
	if err != nil {
		return nil, append(problems, fmt.Errorf("ConfigMap/argocd-cm: dex.config needs key url: %w", err))
	}
	return &Config{
		Name: "Dex", Issuer: base + "/api/dex", ClientID: dexClient, CLIClientID: dexCLIClient, ClientSecret: DexClientSecret(key),
		Scopes: []string{"openid", "profile", "email", "groups", "federated:id", "offline_access"}, Audiences: []string{dexClient, dexCLIClient, dexPKCEClient},
		UserInfoCache: defaultUserInfoCache, Dex: true, Insecure: strings.TrimSpace(cm["oidc.tls.insecure.skip.verify"]) == "true",
	}, problems
}

func parseOIDC(text string, find reference.Lookup) (*Config, []error, error) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		return nil, nil, fmt.Errorf("is no YAML")
	}
	var problems []error
	resolved, missing := reference.ResolveAll(tree, find)
	for _, m := range missing {
		problems = append(problems, fmt.Errorf("ConfigMap/argocd-cm: oidc.config refers to %s, which is in no Secret: add it to Secret argocd-secret", m))
	}
	again, err := yaml.Marshal(resolved)
	if err != nil {
		return nil, problems, fmt.Errorf("cannot be read")
	}
	var r raw
	if err := yaml.Unmarshal(again, &r); err != nil {
		return nil, problems, fmt.Errorf("has a field of a wrong type")
	}
	if u, err := url.Parse(r.Issuer); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || r.ClientID == "" {
		return nil, problems, fmt.Errorf("lacks issuer, which is an https URL, or clientID")
	}
	c := &Config{
		Name: r.Name, Issuer: r.Issuer, ClientID: r.ClientID, CLIClientID: r.CLIClientID, ClientSecret: repo.Secret(r.ClientSecret),
		Scopes: r.RequestedScopes, Claims: r.RequestedIDTokenClaims, Audiences: r.AllowedAudiences, WithoutAudience: r.SkipAudienceCheck,
		LogoutURL: r.LogoutURL, RootCA: r.RootCA, DomainHint: r.DomainHint, UserInfoGroups: r.EnableUserInfoGroups,
		UserInfoBaseURL: r.UserInfoBaseURL, UserInfoPath: r.UserInfoPath, UserInfoCache: defaultUserInfoCache,
	}
	if len(c.Scopes) == 0 {
		c.Scopes = defaultScopes
	}
	if len(c.Audiences) == 0 {
		c.Audiences = []string{c.ClientID}
		if c.CLIClientID != "" {
			c.Audiences = append(c.Audiences, c.CLIClientID)
		}
	}
	var unusable []error
	c.Azure, unusable = r.Azure.parse()
	problems = append(problems, unusable...)
	for name, one := range map[string]struct {
		text string
		into *time.Duration
	}{"azure.userGroupOverageClaimCacheExpiration": {r.Azure.UserGroupOverageClaimCacheExpiration, &c.Azure.Cache}, "userInfoCacheExpiration": {r.UserInfoCache, &c.UserInfoCache}, "refreshTokenThreshold": {r.RefreshTokenThreshold, &c.RefreshBefore}} {
		if one.text == "" {
			continue
		}
		d, err := time.ParseDuration(one.text)
		if err != nil || d < 0 {
			problems = append(problems, fmt.Errorf("ConfigMap/argocd-cm: oidc.config: %s is no duration like \"5m\": it counts as absent", name))
			continue
		}
		*one.into = d
	}
	return c, problems, nil
}

// baseURL checks a URL that users come by, without the slash at its end.
func baseURL(text string) (string, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "/")
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("set it to the address that users see, for example https://cd.example.com")
	}
	return text, nil
}

// DexClientSecret is the secret by which the server is known to Dex
// (spec/config.md §2.2).
func DexClientSecret(key repo.Secret) repo.Secret {
	sum := sha256.Sum256([]byte(key.Reveal()))
	return repo.Secret(base64.URLEncoding.EncodeToString(sum[:])[:40])
}
