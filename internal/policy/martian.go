package policy

import "net/netip"

// martians are prefixes that no neighbor may send, with all that lies inside them: IANA's special-purpose registries
// (RFC 6890), entries that are not globally reachable, less the private ones, which an ISP may use.
func martians() []netip.Prefix {
	return prefixes(
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/8", "100::/64", "2001:2::/48", "2001:db8::/32", "3fff::/20", "fe80::/10", "fec0::/10", "ff00::/8",
	)
}

// privates are RFC 1918, RFC 6598 and RFC 4193.
func privates() []netip.Prefix {
	return prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Private reports whether a prefix is one that needs translation before the Internet.
func Private(p netip.Prefix) bool {
	for _, q := range privates() {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return true
		}
	}
	return false
}
