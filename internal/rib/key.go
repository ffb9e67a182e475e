package rib

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"bothways/internal/route"
)

// key is a prefix as numbers: the address from the highest bit of hi on, an IPv4 address in its upper half.
type key struct {
	hi, lo uint64
	bits   uint8
}

func keyOf(p netip.Prefix) key {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		return key{hi: uint64(binary.BigEndian.Uint32(a[:])) << 32, bits: uint8(p.Bits())}
	}
	a := p.Addr().As16()
	return key{binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]), uint8(p.Bits())}
}

func (k key) prefix(f route.Family) netip.Prefix {
	if f == route.IPv4 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(k.hi>>32))
		return netip.PrefixFrom(netip.AddrFrom4(a), int(k.bits))
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], k.hi)
	binary.BigEndian.PutUint64(a[8:], k.lo)
	return netip.PrefixFrom(netip.AddrFrom16(a), int(k.bits))
}

// contains reports whether every address of inner lies in k, equal prefixes included.
func (k key) contains(inner key) bool {
	switch {
	case k.bits > inner.bits:
		return false
	case k.bits <= 64:
		return (k.hi^inner.hi)>>(64-k.bits) == 0
	}
	return k.hi == inner.hi && (k.lo^inner.lo)>>(128-k.bits) == 0
}

// rankOf is the key's place in the order of prefixes, as dest has it.
func rankOf(f route.Family, k key) uint64 {
	if f == route.IPv4 {
		return k.hi | uint64(k.bits)
	}
	return k.hi
}

// keyOfRank is the IPv4 prefix of a rank.
func keyOfRank(r uint64) key { return key{hi: r &^ 0xff, bits: uint8(r)} }

// before reports whether k is in front of o in the order of prefixes.
func (k key) before(o key) bool { return k.hi < o.hi || k.hi == o.hi && k.compareLow(o) < 0 }

// compareLow orders keys whose hi is the same.
func (k key) compareLow(o key) int {
	return cmp.Or(cmp.Compare(k.lo, o.lo), cmp.Compare(k.bits, o.bits))
}
