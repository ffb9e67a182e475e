package message

import (
	"net/netip"

	"bothways/internal/route"
)

// arenaChunk is how many prefixes are allocated at once: 16 KiB, which a batch of UPDATEs shares.
const arenaChunk = 512

// arena hands out slices of prefixes cut from larger ones. Whoever gets one owns it.
type arena struct{ free []netip.Prefix }

func (a *arena) take(n int) []netip.Prefix {
	if n > cap(a.free) {
		a.free = make([]netip.Prefix, 0, max(n, arenaChunk))
	}
	s := a.free[:0:n]
	a.free = a.free[n:n]
	return s
}

// countPrefixes returns how many prefixes b holds, or false where it is malformed (RFC 7606, section 5.3).
func countPrefixes(b []byte, bits int) (int, bool) {
	n := 0
	for len(b) > 0 {
		size := int(b[0])
		if size > bits || len(b) < 1+(size+7)/8 {
			return 0, false
		}
		b = b[1+(size+7)/8:]
		n++
	}
	return n, true
}

// parsePrefixes reads b, with the bits behind each prefix's length cleared. It returns nil for none.
func (a *arena) parsePrefixes(f route.Family, b []byte) ([]netip.Prefix, bool) {
	if len(b) == 0 {
		return nil, true
	}
	n, ok := countPrefixes(b, f.Bits())
	if !ok {
		return nil, false
	}
	out := a.take(n)
	for len(b) > 0 {
		bits := int(b[0])
		size := (bits + 7) / 8
		out = append(out, prefixFrom(f, b[1:1+size], bits))
		b = b[1+size:]
	}
	return out, true
}

func prefixFrom(f route.Family, b []byte, bits int) netip.Prefix {
	mask := ^byte(0)
	if bits%8 != 0 {
		mask <<= 8 - bits%8
	}
	if f == route.IPv4 {
		var v [4]byte
		copy(v[:], b)
		if len(b) > 0 {
			v[len(b)-1] &= mask
		}
		return netip.PrefixFrom(netip.AddrFrom4(v), bits)
	}
	var v [16]byte
	copy(v[:], b)
	if len(b) > 0 {
		v[len(b)-1] &= mask
	}
	return netip.PrefixFrom(netip.AddrFrom16(v), bits)
}

// appendPrefix writes p as NLRI.
func appendPrefix(dst []byte, p netip.Prefix) []byte {
	dst = append(dst, byte(p.Bits()))
	size := (p.Bits() + 7) / 8
	if p.Addr().Is4() {
		v := p.Masked().Addr().As4()
		return append(dst, v[:size]...)
	}
	v := p.Masked().Addr().As16()
	return append(dst, v[:size]...)
}

// without returns the prefixes of list that are not in other, which are usually all.
func without(list, other []netip.Prefix) []netip.Prefix {
	if len(list) == 0 || len(other) == 0 {
		return list
	}
	drop := make(map[netip.Prefix]struct{}, len(other))
	for _, p := range other {
		drop[p] = struct{}{}
	}
	kept := list[:0]
	for _, p := range list {
		if _, ok := drop[p]; !ok {
			kept = append(kept, p)
		}
	}
	return kept
}
