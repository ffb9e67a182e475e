package fib

import "bothways/internal/kstate"

// SysctlLink is an interface of a link, for its settings.
type SysctlLink struct {
	Interface string
	Automatic bool // addressed by router advertisements
}

// Sysctls are the settings that the rest depends on. Dots in interface names are written as slashes, as in sysctl(8).
func Sysctls(links []SysctlLink, inside []string) []kstate.Sysctl {
	out := []kstate.Sysctl{
		{Key: "net.ipv4.ip_forward", Value: "1"},
		{Key: "net.ipv6.conf.all.forwarding", Value: "1"},
		// A group's replacement costs nothing per route only without the copies for old programs.
		{Key: "net.ipv4.nexthop_compat_mode", Value: "0"},
		// ECMP by ports too, so that one pair of hosts uses both links of a tier.
		{Key: "net.ipv4.fib_multipath_hash_policy", Value: "1"},
		{Key: "net.ipv6.fib_multipath_hash_policy", Value: "1"},
		// What the edge itself answers leaves by the link that the question came by.
		{Key: "net.ipv4.tcp_fwmark_accept", Value: "1"},
		{Key: "net.ipv4.fwmark_reflect", Value: "1"},
		{Key: "net.ipv6.fwmark_reflect", Value: "1"},
		{Key: "net.netfilter.nf_conntrack_acct", Value: "1"},
		{Key: "net.netfilter.nf_conntrack_max", Value: "262144", AtLeast: true},
		{Key: "net.ipv4.conf.all.send_redirects", Value: "0"},
	}
	for _, l := range links {
		name := slashed(l.Interface)
		out = append(out,
			// Loose: a reply may come by a link that is not the best way to its source.
			kstate.Sysctl{Key: "net.ipv4.conf." + name + ".rp_filter", Value: "2"},
			kstate.Sysctl{Key: "net.ipv4.conf." + name + ".send_redirects", Value: "0"},
			kstate.Sysctl{Key: "net.ipv4.conf." + name + ".accept_redirects", Value: "0"},
			kstate.Sysctl{Key: "net.ipv6.conf." + name + ".accept_redirects", Value: "0"})
		if l.Automatic {
			// Forwarding switches router advertisements off unless they are asked for with 2.
			out = append(out, kstate.Sysctl{Key: "net.ipv6.conf." + name + ".accept_ra", Value: "2"})
		}
	}
	return append(out, Guarded(inside)...)
}

// Guarded are the settings of inside interfaces, which must not be without our table, nor stay where an interface is inside no more.
func Guarded(inside []string) []kstate.Sysctl {
	var out []kstate.Sysctl
	for _, name := range inside {
		// Any policy rule makes the kernel look each source up a second time, the whole way, unless this is set. The ruleset
		// drops what this would let in (guard_martian).
		out = append(out, kstate.Sysctl{Key: "net.ipv4.conf." + slashed(name) + ".accept_local", Value: "1", Guarded: true})
	}
	return out
}

func slashed(name string) string {
	b := []byte(name)
	for i := range b {
		if b[i] == '.' {
			b[i] = '/'
		}
	}
	return string(b)
}
