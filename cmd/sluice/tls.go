package main

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// tlsFlags bound the TLS of the API (spec/config.md, TLS set).
type tlsFlags struct{ lowest, highest, ciphers string }

func (f *tlsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.lowest, "tlsminversion", "1.2", "lowest version of TLS of the API: 1.2 or 1.3; 1.0 and 1.1 count as 1.2")
	flags.StringVar(&f.highest, "tlsmaxversion", "1.3", "highest version of TLS of the API: 1.2 or 1.3")
	flags.StringVar(&f.ciphers, "tlsciphers", "", "ciphers of TLS 1.2, divided by colons; list shows their names; default: all that are good")
}

// params are the keys of argocd-cmd-params-cm for the flags.
func (f *tlsFlags) params() map[string]param[string] {
	return map[string]param[string]{
		"server.tls.minversion": {"tlsminversion", &f.lowest}, "server.tls.maxversion": {"tlsmaxversion", &f.highest}, "server.tls.ciphers": {"tlsciphers", &f.ciphers},
	}
}

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS12, "1.1": tls.VersionTLS12, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// parse reads the versions and ciphers; no ciphers are those of the library.
func (f *tlsFlags) parse() (lowest, highest uint16, ciphers []uint16, err error) {
	lowest, known := tlsVersions[f.lowest]
	if !known {
		return 0, 0, nil, fmt.Errorf("--tlsminversion=%s: want 1.2 or 1.3", f.lowest)
	}
	if highest, known = tlsVersions[f.highest]; !known || highest < lowest {
		return 0, 0, nil, fmt.Errorf("--tlsmaxversion=%s: want 1.2 or 1.3, not below --tlsminversion", f.highest)
	}
	byName := map[string]uint16{}
	for _, c := range tls.CipherSuites() {
		byName[c.Name] = c.ID
	}
	for _, name := range listOf(f.ciphers, ":") {
		id, ok := byName[name]
		if !ok {
			return 0, 0, nil, fmt.Errorf("--tlsciphers: %q is none of %s", name, strings.Join(cipherNames(), ":"))
		}
		ciphers = append(ciphers, id)
	}
	return lowest, highest, ciphers, nil
}

// cipherNames are those that can be given.
func cipherNames() []string {
	var out []string
	for _, c := range tls.CipherSuites() {
		out = append(out, c.Name)
	}
	return out
}
