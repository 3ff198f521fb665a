package rest

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks of reverse proxies whose X-Forwarded-For is believed;
// none believes nobody.
type Proxies []netip.Prefix

// ParseProxies reads networks and single addresses. All of the internet is
// refused: everybody could choose where he comes from.
func ParseProxies(texts []string) (Proxies, error) {
	var out Proxies
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if a, single := netip.ParseAddr(text); single == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no network like 10.0.0.0/8 or 192.0.2.7", text)
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("%q is everybody: name the networks of your proxies", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p Proxies) trust(a netip.Addr) bool {
	for _, one := range p {
		if one.Contains(a) {
			return true
		}
	}
	return false
}

// source is the address that a request comes from. The header is read from its
// end, the only part that proxies of ours wrote, as far as they did: the first
// address that is not one of them is the source, whatever it claims further
// left. Something that is no address ends it.
func (p Proxies) source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err != nil || len(p) == 0 || !p.trust(at.Unmap()) {
		return host
	}
	at = at.Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trust(at); i-- {
		next, ok := hop(hops[i])
		if !ok {
			break
		}
		at = next
	}
	return at.String()
}

// hop reads an address, with a port or without.
func hop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap().WithZone(""), err == nil
}
