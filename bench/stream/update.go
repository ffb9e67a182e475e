package stream

import (
	"encoding/binary"
	"net/netip"
)

// maxMessage is the longest BGP message without the extension of RFC 8654.
const maxMessage = 4096

const headerLen = 19

// Encode gives the UPDATEs of a table with this next hop, and the End-of-RIB of its family behind them (RFC 4724).
func Encode(t Table, nextHop netip.Addr) []byte {
	var out []byte
	for _, s := range t {
		attrs := s.attributes(nextHop)
		for rest := s.Prefixes; len(rest) > 0; {
			var nlri []byte
			for len(rest) > 0 && headerLen+4+len(attrs)+64+len(nlri)+17 <= maxMessage {
				nlri = appendNLRI(nlri, rest[0])
				rest = rest[1:]
			}
			out = appendUpdate(out, attrs, nlri, nextHop)
		}
	}
	return append(out, endOfRIB(nextHop)...)
}

func appendUpdate(out, attrs, nlri []byte, nextHop netip.Addr) []byte {
	if nextHop.Is6() {
		// MP_REACH_NLRI, RFC 4760, section 3; with the extended length.
		hop := nextHop.As16()
		reach := binary.BigEndian.AppendUint16([]byte{0x90, 14}, uint16(5+len(hop)+len(nlri)))
		reach = append(reach, 0, 2, 1, byte(len(hop)))
		reach = append(reach, hop[:]...)
		reach = append(append(reach, 0), nlri...)
		attrs, nlri = append(reach, attrs...), nil
	}
	out = appendHeader(out, 4+len(attrs)+len(nlri), 2)
	out = append(out, 0, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(len(attrs)))
	return append(append(out, attrs...), nlri...)
}

func endOfRIB(nextHop netip.Addr) []byte {
	if nextHop.Is4() {
		return append(appendHeader(nil, 4, 2), 0, 0, 0, 0)
	}
	return append(appendHeader(nil, 10, 2), 0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1)
}

func appendHeader(out []byte, body int, kind byte) []byte {
	for range 16 {
		out = append(out, 0xff)
	}
	out = binary.BigEndian.AppendUint16(out, uint16(headerLen+body))
	return append(out, kind)
}

func appendNLRI(out []byte, p netip.Prefix) []byte {
	out = append(out, byte(p.Bits()))
	return append(out, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// attributes are the path attributes in the order of their numbers: ORIGIN, AS_PATH, NEXT_HOP (IPv4), COMMUNITIES.
func (s Set) attributes(nextHop netip.Addr) []byte {
	out := []byte{0x40, 1, 1, 0}
	var path []byte
	for _, seg := range []struct {
		kind byte
		list []uint32
	}{{2, s.Path}, {1, s.PathSet}} {
		if len(seg.list) == 0 {
			continue
		}
		path = append(path, seg.kind, byte(len(seg.list)))
		for _, as := range seg.list {
			path = binary.BigEndian.AppendUint32(path, as)
		}
	}
	out = appendAttr(out, 0x40, 2, path)
	if nextHop.Is4() {
		out = appendAttr(out, 0x40, 3, nextHop.AsSlice())
	}
	if len(s.Communities) > 0 {
		var list []byte
		for _, c := range s.Communities {
			list = binary.BigEndian.AppendUint32(list, c)
		}
		out = appendAttr(out, 0xc0, 8, list)
	}
	return out
}

func appendAttr(out []byte, flags, kind byte, value []byte) []byte {
	if len(value) > 255 {
		out = binary.BigEndian.AppendUint16(append(out, flags|0x10, kind), uint16(len(value)))
	} else {
		out = append(out, flags, kind, byte(len(value)))
	}
	return append(out, value...)
}
