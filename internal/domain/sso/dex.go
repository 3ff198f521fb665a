package sso

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/domain/repo"
)

// Clients of Dex.
const (
	dexClient     = "argo-cd"
	dexCLIClient  = "argo-cd-cli"
	dexPKCEClient = "argo-cd-pkce"
)

// redirecting are the connectors that send browsers back to Dex.
var redirecting = []string{"oidc", "saml", "microsoft", "linkedin", "gitlab", "github", "bitbucket-cloud", "openshift", "gitea", "google", "oauth"}

// DexOptions are what the process that runs Dex adds.
type DexOptions struct {
	// Plain serves Dex without TLS.
	Plain bool
	// LogLevel and LogFormat may be empty.
	LogLevel, LogFormat string
}

// ErrNoDex is a hub without dex.config or url.
var ErrNoDex = errors.New("ConfigMap/argocd-cm has no dex.config or no url: logins by Dex are switched off")

// RenderDex gives the configuration of a Dex that runs beside the server
// (spec/config.md §2.2). The result holds secrets. The error names the key.
// Dollars stay as they are: that Dex must not expand variables, which
// DEX_EXPAND_ENV=false tells it. Where it does, no way of writing keeps them: of
// two dollars it leaves none.
func RenderDex(cm map[string]string, find reference.Lookup, key repo.Secret, o DexOptions) ([]byte, error) {
	base, err := baseURL(cm["url"])
	if err != nil || strings.TrimSpace(cm["dex.config"]) == "" {
		return nil, ErrNoDex
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(cm["dex.config"]), &tree); err != nil || tree == nil {
		return nil, errors.New("ConfigMap/argocd-cm: key dex.config is no YAML of fields")
	}
	resolved, missing := reference.ResolveAll(map[string]any{"connectors": tree["connectors"]}, find)
	if len(missing) > 0 {
		return nil, fmt.Errorf("ConfigMap/argocd-cm: dex.config refers to %s, which is in no Secret: add it to Secret argocd-secret", missing[0])
	}
	connectors, ok := resolved.(map[string]any)["connectors"]
	if ok && connectors != nil {
		tree["connectors"] = finish(connectors, base)
	}
	tree["issuer"] = base + "/api/dex"
	tree["storage"] = map[string]any{"type": "memory"}
	tree["web"] = map[string]any{"https": "0.0.0.0:5556", "tlsCert": "/tmp/tls.crt", "tlsKey": "/tmp/tls.key"}
	if o.Plain {
		tree["web"] = map[string]any{"http": "0.0.0.0:5556"}
	}
	tree["grpc"] = map[string]any{"addr": "0.0.0.0:5557"}
	tree["telemetry"] = map[string]any{"http": "0.0.0.0:5558"}
	logger := part(tree, "logger")
	for name, value := range map[string]string{"level": o.LogLevel, "format": o.LogFormat} {
		if value != "" {
			logger[name] = value
		}
	}
	if len(logger) == 0 {
		delete(tree, "logger")
	}
	if oauth := part(tree, "oauth2"); oauth["skipApprovalScreen"] == nil {
		oauth["skipApprovalScreen"] = true
	}
	redirects := []any{base + "/auth/callback"}
	for _, more := range bases(map[string]string{"additionalUrls": cm["additionalUrls"]}) {
		redirects = append(redirects, more+"/auth/callback")
	}
	clients := []any{
		map[string]any{"id": dexClient, "name": "Sluice", "secret": DexClientSecret(key).Reveal(), "redirectURIs": redirects},
		map[string]any{"id": dexCLIClient, "name": "Sluice CLI", "public": true, "redirectURIs": []any{"http://localhost", "http://localhost:8085/auth/callback"}},
		map[string]any{"id": dexPKCEClient, "name": "Sluice PKCE", "public": true, "redirectURIs": []any{"http://localhost:4000/auth/callback"}},
	}
	own, _ := tree["staticClients"].([]any)
	tree["staticClients"] = append(clients, own...)
	return yaml.Marshal(tree)
}

// part gives a map below a name, made when it is not there.
func part(tree map[string]any, name string) map[string]any {
	inner, ok := tree[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		tree[name] = inner
	}
	return inner
}

// finish completes connectors: their way back.
func finish(connectors any, base string) any {
	list, ok := connectors.([]any)
	if !ok {
		return connectors
	}
	for _, item := range list {
		connector, ok := item.(map[string]any)
		if !ok {
			continue
		}
		kind, _ := connector["type"].(string)
		if config, ok := connector["config"].(map[string]any); ok && slices.Contains(redirecting, kind) {
			config["redirectURI"] = base + "/api/dex/callback"
		}
	}
	return list
}
