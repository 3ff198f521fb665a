// Package verify says whether settings can be used, group by group, before
// anything uses them (spec/cli.md §6, settings validate). It reads them with the
// code that the components read them with.
package verify

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cd/sluice/internal/domain/account"
	"github.com/sluice-cd/sluice/internal/domain/kindfilter"
	"github.com/sluice-cd/sluice/internal/domain/kustomize"
	"github.com/sluice-cd/sluice/internal/domain/policy"
	"github.com/sluice-cd/sluice/internal/domain/reference"
	"github.com/sluice-cd/sluice/internal/domain/repo"
	"github.com/sluice-cd/sluice/internal/domain/sso"
)

// Settings are what is verified.
type Settings struct {
	// Config is the data of argocd-cm, Secret that of argocd-secret.
	Config map[string]string
	Secret map[string][]byte
	// Find gives keys of Secrets that settings refer to.
	Find reference.Lookup
	// Query reads a jq expression, Script a Lua script by its name.
	Query  func(expression string) error
	Script func(name, source string) error
}

// Result is what is said of a group.
type Result struct {
	// Summary says in short what the group holds.
	Summary []string
	// Problems name keys and remedies; none is good.
	Problems []error
}

// groups, by name.
var groups = map[string]func(*Settings) Result{
	"general": general, "accounts": accounts, "kustomize": kustomizes, "resource-overrides": overrides,
}

// Names are the groups, sorted.
func Names() []string { return slices.Sorted(maps.Keys(groups)) }

// Group verifies a group; ok is false for one that does not exist.
func Group(name string, s *Settings) (r Result, ok bool) {
	check, ok := groups[name]
	if !ok {
		return Result{}, false
	}
	return check(s), true
}

func key(name, format string, args ...any) error {
	return fmt.Errorf("ConfigMap/argocd-cm: key %s %s", name, fmt.Sprintf(format, args...))
}

// Keys by their form (spec/config.md §2).
var (
	booleans = []string{
		"statusbadge.enabled", "ui.bannerpermanent", "exec.enabled", "oidc.tls.insecure.skip.verify", "application.sync.impersonation.enabled",
		"application.sync.impersonation.enforced", "application.sync.requireOverridePrivilegeForRevisionSync", "cluster.inClusterEnabled",
		"resource.ignoreResourceUpdatesEnabled", "kustomize.enable", "helm.enable", "jsonnet.enable", "resource.health.conventions",
		"server.rbac.disableApplicationFineGrainedRBACInheritance",
	}
	durations    = []string{"timeout.reconciliation", "timeout.reconciliation.jitter", "timeout.hard.reconciliation", "repository.poll.interval"}
	shortPeriods = []string{"webhook.refresh.jitter"}
	counts       = []string{"server.maxPodLogsToRender", "webhook.refresh.jitter.threshold", "webhook.maxPayloadSizeMB"}
	addresses    = []string{"url", "statusbadge.url", "help.chatUrl", "ui.bannerurl"}
	choices      = map[string][]string{
		"application.resourceTrackingMethod": {"annotation", "annotation+label", "label"}, "ui.bannerposition": {"top", "bottom", "both"},
	}
)

func general(s *Settings) Result {
	var r Result
	provider, problems := sso.Parse(s.Config, s.Find, repo.Secret(s.Secret["server.secretkey"]))
	r.Problems = append(r.Problems, problems...)
	switch {
	case provider == nil:
		r.Summary = append(r.Summary, "SSO is not configured")
	case provider.Dex:
		r.Summary = append(r.Summary, "Dex is configured")
	default:
		r.Summary = append(r.Summary, "OIDC is configured")
	}
	if s.Config["url"] == "" {
		r.Summary = append(r.Summary, "url is not set")
	}
	r.Problems = append(r.Problems, forms(s.Config)...)
	if text := s.Config["additionalUrls"]; text != "" {
		var all []string
		if err := yaml.Unmarshal([]byte(text), &all); err != nil {
			r.Problems = append(r.Problems, key("additionalUrls", "is no list of URLs"))
		}
		for _, u := range all {
			if !address(u) {
				r.Problems = append(r.Problems, key("additionalUrls", "holds %q, which is no URL like https://cd.example.com", u))
			}
		}
	}
	if _, err := policy.ParseGlobals(s.Config["globalProjects"]); err != nil {
		r.Problems = append(r.Problems, fmt.Errorf("ConfigMap/argocd-cm: key %w", err))
	}
	if _, err := kindfilter.ParseRespect(s.Config); err != nil {
		r.Problems = append(r.Problems, err)
	}
	_, problems = kindfilter.Parse(s.Config)
	r.Problems = append(r.Problems, problems...)
	return r
}

// forms checks keys whose values have a form.
func forms(config map[string]string) []error {
	var out []error
	check := func(names []string, ok func(string) bool, want string) {
		for _, name := range names {
			if v := strings.TrimSpace(config[name]); v != "" && !ok(v) {
				out = append(out, key(name, "is %q: want %s", v, want))
			}
		}
	}
	check(booleans, func(v string) bool { _, err := strconv.ParseBool(v); return err == nil }, `"true" or "false"`)
	check(durations, func(v string) bool { d, err := time.ParseDuration(v); return err == nil && d >= 0 }, "a duration like 120s")
	check(shortPeriods, func(v string) bool { _, ok := account.Duration(v); return ok }, "one number with one of s, m, h, d, like 10s")
	check(counts, func(v string) bool { n, err := strconv.Atoi(v); return err == nil && n >= 0 }, "a number of 0 or more")
	check(addresses, address, "a URL like https://cd.example.com")
	for _, name := range slices.Sorted(maps.Keys(choices)) {
		check([]string{name}, func(v string) bool { return slices.Contains(choices[name], v) }, strings.Join(choices[name], ", "))
	}
	return out
}

func address(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

func accounts(s *Settings) Result {
	book, problems := account.Parse(s.Config, s.Secret)
	r := Result{Summary: []string{count(len(book.Accounts), "account")}, Problems: problems}
	for _, name := range slices.Sorted(maps.Keys(book.Accounts)) {
		a := book.Accounts[name]
		if a.Enabled && a.Can(account.Login) && a.Hash.Reveal() == "" && len(s.Secret) > 0 {
			r.Summary = append(r.Summary, "account "+name+" has no password")
		}
	}
	return r
}

func kustomizes(s *Settings) Result {
	var r Result
	versions := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Config)) {
		if name == "kustomize.buildOptions" || strings.HasPrefix(name, "kustomize.buildOptions.") {
			if _, err := kustomize.ParseBuildOptions(s.Config[name]); err != nil {
				r.Problems = append(r.Problems, key(name, "cannot be used: %s", strings.TrimPrefix(err.Error(), "kustomize.buildOptions: ")))
			}
		}
		for _, prefix := range []string{"kustomize.path.", "kustomize.version."} {
			version, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			if was := versions[version]; was != "" {
				r.Problems = append(r.Problems, key(name, "declares version %s a second time: remove it or %s", version, was))
			}
			versions[version] = name
		}
	}
	if s.Config["kustomize.buildOptions"] == "" {
		r.Summary = append(r.Summary, "default options are used")
	} else {
		r.Summary = append(r.Summary, "options: "+s.Config["kustomize.buildOptions"])
	}
	if len(versions) > 0 {
		r.Summary = append(r.Summary, count(len(versions), "version"))
	}
	return r
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
