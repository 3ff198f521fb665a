package reference

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"net/url"
	"strings"
)

// SecretName is prefix-<hash> of what a Secret declares (spec/config.md §6).
func SecretName(prefix string, identity ...string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.Join(identity, ""))) // a hash takes everything
	return fmt.Sprintf("%s-%d", prefix, h.Sum32())
}

// ClusterSecretName is the name of the Secret that declares the cluster at a
// server (spec/config.md §6.1).
func ClusterSecretName(server string) string {
	host := server
	if u, err := url.Parse(server); err == nil {
		if host = u.Hostname(); host == "" {
			host = u.Host
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		host = strings.ReplaceAll(host, ":", "-")
	}
	return SecretName("cluster-"+strings.ToLower(host), server)
}
