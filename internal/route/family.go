package route

import (
	"fmt"
	"net/netip"
)

// Family is an address family; BGP's AFI with SAFI 1 (unicast), RFC 4760.
type Family uint8

// The families that this project speaks.
const (
	IPv4 Family = 1
	IPv6 Family = 2
)

// Families lists every family, in the order in which output shows them.
func Families() []Family { return []Family{IPv4, IPv6} }

// FamilyOf returns the family of an address; an IPv4-mapped IPv6 address counts as IPv6.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Bits is the length of an address of the family: 32 or 128.
func (f Family) Bits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}

// Default is the prefix of length zero.
func (f Family) Default() netip.Prefix {
	if f == IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// Contains reports whether every address of inner lies in outer (equal prefixes included).
func Contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// ComparePrefix orders prefixes by family, address, then length: a covering prefix comes before what it covers.
func ComparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
