package message

import (
	"fmt"
	"net/netip"
	"slices"

	"bothways/internal/route"
)

// Encoder writes the UPDATEs that announce the site's own prefixes on one session.
type Encoder struct {
	Options
	LocalAS uint32
	NextHop map[route.Family]netip.Addr
	// OTC has every route marked with the own AS, as RFC 9234, section 5, wants of a provider, a peer and a route
	// server.
	OTC bool
}

// maxPrepend keeps the path in one segment.
const maxPrepend = 254

// Announce appends UPDATEs for the announcements, as many prefixes in each as fit. Announcements are taken in their
// order, those that differ only in the prefix together.
func (e *Encoder) Announce(dst []byte, f route.Family, list []route.Announcement) ([]byte, error) {
	hop := e.NextHop[f]
	if len(list) > 0 && route.FamilyOf(hop) != f || len(list) > 0 && !hop.IsValid() {
		return dst, fmt.Errorf("announce %s: no own %s address for the next hop", list[0].Prefix, f)
	}
	groups := map[string][]netip.Prefix{}
	var order []string
	for _, a := range list {
		attrs := string(e.attributes(a, f, hop))
		if _, ok := groups[attrs]; !ok {
			order = append(order, attrs)
		}
		groups[attrs] = append(groups[attrs], a.Prefix)
	}
	var err error
	for _, attrs := range order {
		if dst, err = e.pack(dst, f, hop, attrs, groups[attrs]); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// pack writes the prefixes of one attribute list.
func (e *Encoder) pack(dst []byte, f route.Family, hop netip.Addr, attrs string, prefixes []netip.Prefix) ([]byte, error) {
	fixed := HeaderLen + 4 + len(attrs)
	if f == route.IPv6 {
		fixed += 4 + 5 + 16
	}
	room := e.Limit() - fixed
	if room < 17 {
		return dst, fmt.Errorf("announce %s: %d bytes of attributes do not fit a message", prefixes[0], len(attrs))
	}
	for len(prefixes) > 0 {
		var nlri []byte
		nlri, prefixes = fill(prefixes, room)
		start := len(dst)
		dst = put16(begin(dst, TypeUpdate), 0)
		if f == route.IPv4 {
			dst = append(append(put16(dst, uint16(len(attrs))), attrs...), nlri...)
		} else {
			dst = put16(dst, uint16(4+5+16+len(nlri)+len(attrs)))
			// RFC 7606, section 5.1: first, so that the routes are known whatever is wrong with the rest.
			dst = put16(append(dst, flagOptional|flagExtended, byte(AttrMPReach)), uint16(5+16+len(nlri)))
			dst = append(dst, 0, byte(f), safiUnicast, 16)
			v := hop.As16()
			dst = append(append(dst, v[:]...), 0)
			dst = append(append(dst, nlri...), attrs...)
		}
		dst = end(dst, start)
	}
	return dst, nil
}

// fill takes prefixes until room is used up.
func fill(prefixes []netip.Prefix, room int) (nlri []byte, rest []netip.Prefix) {
	for i, p := range prefixes {
		if len(nlri)+1+(p.Bits()+7)/8 > room {
			return nlri, prefixes[i:]
		}
		nlri = appendPrefix(nlri, p)
	}
	return nlri, nil
}

// attributes writes all attributes but the multiprotocol ones, in the order of their types as RFC 4271, section 5,
// recommends.
func (e *Encoder) attributes(a route.Announcement, f route.Family, hop netip.Addr) []byte {
	b := []byte{flagTransitive, byte(AttrOrigin), 1, byte(route.OriginIGP)}
	n := 1 + min(max(a.Prepend, 0), maxPrepend)
	path := []byte{byte(route.Sequence), byte(n)}
	for range n {
		path = e.appendAS(path)
	}
	b = appendTLV(b, flagTransitive, AttrASPath, path)
	if f == route.IPv4 {
		v := hop.As4()
		b = appendTLV(b, flagTransitive, AttrNextHop, v[:])
	}
	if len(a.Communities) > 0 {
		var v []byte
		for _, c := range slices.Sorted(slices.Values(a.Communities)) {
			v = put32(v, uint32(c))
		}
		b = appendTLV(b, flagOptional|flagTransitive, AttrCommunities, v)
	}
	if !e.FourOctetAS && e.LocalAS > 0xffff {
		// RFC 6793, section 4.2.2: the real path goes along for those behind the neighbor.
		v := []byte{byte(route.Sequence), byte(n)}
		for range n {
			v = put32(v, e.LocalAS)
		}
		b = appendTLV(b, flagOptional|flagTransitive, AttrAS4Path, v)
	}
	if len(a.Large) > 0 {
		var v []byte
		for _, c := range a.Large {
			v = put32(put32(put32(v, c[0]), c[1]), c[2])
		}
		b = appendTLV(b, flagOptional|flagTransitive, AttrLargeCommunities, v)
	}
	if e.OTC {
		b = appendTLV(b, flagOptional|flagTransitive, AttrOTC, put32(nil, e.LocalAS))
	}
	return b
}

func (e *Encoder) appendAS(dst []byte) []byte {
	switch {
	case e.FourOctetAS:
		return put32(dst, e.LocalAS)
	case e.LocalAS > 0xffff:
		return put16(dst, ASTrans)
	}
	return put16(dst, uint16(e.LocalAS))
}

func appendTLV(dst []byte, flags byte, t AttrType, v []byte) []byte {
	if len(v) > 255 {
		return append(put16(append(dst, flags|flagExtended, byte(t)), uint16(len(v))), v...)
	}
	return append(append(dst, flags, byte(t), byte(len(v))), v...)
}

// Withdraw appends UPDATEs that withdraw the prefixes.
func (e *Encoder) Withdraw(dst []byte, f route.Family, prefixes []netip.Prefix) []byte {
	room := e.Limit() - HeaderLen - 4
	if f == route.IPv6 {
		room -= 4 + 3
	}
	for len(prefixes) > 0 {
		var nlri []byte
		nlri, prefixes = fill(prefixes, room)
		start := len(dst)
		dst = begin(dst, TypeUpdate)
		if f == route.IPv4 {
			dst = put16(append(put16(dst, uint16(len(nlri))), nlri...), 0)
		} else {
			dst = put16(put16(dst, 0), uint16(4+3+len(nlri)))
			dst = put16(append(dst, flagOptional|flagExtended, byte(AttrMPUnreach)), uint16(3+len(nlri)))
			dst = append(append(dst, 0, byte(f), safiUnicast), nlri...)
		}
		dst = end(dst, start)
	}
	return dst
}

// EndOfRIB appends the End-of-RIB marker of the family (RFC 4724, section 2).
func (e *Encoder) EndOfRIB(dst []byte, f route.Family) []byte {
	start := len(dst)
	dst = begin(dst, TypeUpdate)
	if f == route.IPv4 {
		dst = append(dst, 0, 0, 0, 0)
	} else {
		dst = append(dst, 0, 0, 0, 6, flagOptional, byte(AttrMPUnreach), 3, 0, byte(f), safiUnicast)
	}
	return end(dst, start)
}
