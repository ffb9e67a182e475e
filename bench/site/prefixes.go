package site

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// AwaitPrefixes asks the kernel until it answers for every destination by the very prefix, and says when that was, or for which one
// it does not.
func (s *Site) AwaitPrefixes(wants []Want, limit time.Duration) (time.Time, error) {
	deadline := time.Now().Add(limit)
	for rest := wants; ; {
		for len(rest) > 0 && s.prefix(rest[0].Destination) == rest[0].Prefix {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return time.Now(), nil
		}
		if time.Now().After(deadline) {
			return time.Time{}, fmt.Errorf("after %s packets to %s go by %s, want %s", limit, rest[0].Destination, s.prefix(rest[0].Destination), rest[0].Prefix)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// prefix is that of the route by which the router's kernel would send to a destination from inside.
func (s *Site) prefix(d netip.Addr) netip.Prefix {
	routes, err := s.Edge.RouteGetWithOptions(d.AsSlice(), &netlink.RouteGetOptions{Iif: Inside, SrcAddr: Host.AsSlice(), FIBMatch: true})
	if err != nil || len(routes) == 0 || routes[0].Dst == nil {
		return netip.Prefix{}
	}
	bits, _ := routes[0].Dst.Mask.Size()
	a, _ := netip.AddrFromSlice(routes[0].Dst.IP)
	return netip.PrefixFrom(a.Unmap(), bits)
}
