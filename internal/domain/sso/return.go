package sso

import (
	"net/url"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// bases are the addresses that users come by, url first; what is no URL is
// left out.
func bases(cm map[string]string) []string {
	var more []string
	if err := yaml.Unmarshal([]byte(cm["additionalUrls"]), &more); err != nil {
		more = nil
	}
	var out []string
	for _, text := range append([]string{cm["url"]}, more...) {
		if base, err := baseURL(text); err == nil {
			out = append(out, base)
		}
	}
	return out
}

// Base is the address that a request came by: the one of url and
// additionalUrls with its host, and of several the longest path that begins
// the path of the request; url when none fits, and empty when there is none.
func Base(cm map[string]string, host, requestPath string) string {
	all := bases(cm)
	best, length := "", -1
	for _, base := range all {
		u, err := url.Parse(base)
		if err == nil && strings.EqualFold(u.Host, host) && below(requestPath, u.Path) && len(u.Path) > length {
			best, length = base, len(u.Path)
		}
	}
	if best == "" && len(all) > 0 {
		return all[0]
	}
	return best
}

func below(p, prefix string) bool {
	prefix = strings.TrimRight(prefix, "/")
	return prefix == "" || p == prefix || strings.HasPrefix(p, prefix+"/")
}

// Return checks where a login wants to return to (spec/api.md §4): scheme, host
// and the beginning of the path must be those of url or additionalUrls. Empty
// is the fallback, and a path alone is below it.
func Return(cm map[string]string, want, fallback string) (string, bool) {
	if want == "" {
		return fallback, fallback != ""
	}
	if len(want) > 2000 || strings.ContainsAny(want, "\\\r\n\t\x00") {
		return "", false
	}
	u, err := url.Parse(want)
	if err != nil || u.User != nil || u.Opaque != "" {
		return "", false
	}
	if u.Scheme == "" && u.Host == "" {
		base, err := url.Parse(fallback)
		if err != nil || fallback == "" || !strings.HasPrefix(want, "/") || strings.HasPrefix(want, "//") {
			return "", false
		}
		u.Scheme, u.Host = base.Scheme, base.Host
	}
	for _, base := range bases(cm) {
		b, err := url.Parse(base)
		if err == nil && u.Scheme == b.Scheme && strings.EqualFold(u.Host, b.Host) && below(path.Clean("/"+u.Path), b.Path) {
			return u.String(), true
		}
	}
	return "", false
}

// Logout is where a logout goes: the provider's page where there is one, else
// back to base.
func (c *Config) Logout(token, base string) string {
	if c == nil || c.LogoutURL == "" {
		return base
	}
	return strings.NewReplacer("{{token}}", url.QueryEscape(token), "{{logoutRedirectURL}}", url.QueryEscape(base)).Replace(c.LogoutURL)
}
