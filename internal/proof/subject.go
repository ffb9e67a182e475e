package proof

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
)

// Subject is what is proven: that replies to an address come back when it is used through a link.
type Subject struct {
	Link    string // expressroute/primary
	Address netip.Addr
}

// Compare orders subjects by link and address.
func (s Subject) Compare(o Subject) int {
	return cmp.Or(cmp.Compare(s.Link, o.Link), s.Address.Compare(o.Address))
}

// Protocol is how a target is asked.
type Protocol string

// Protocols.
const (
	ICMP Protocol = "icmp" // an echo request
	TCP  Protocol = "tcp"  // the opening of a connection
)

// Target is who is asked. Targets are compared by value.
type Target struct {
	Protocol Protocol
	Address  netip.Addr
	Port     uint16 // tcp
}

// String is how the target is called in tables.
func (t Target) String() string {
	if t.Protocol == TCP {
		return "tcp " + netip.AddrPortFrom(t.Address, t.Port).String()
	}
	return string(t.Protocol) + " " + t.Address.String()
}

// Sample picks at most n addresses of a prefix: all where it has no more, else the first, the last and some evenly between.
// Of an IPv6 prefix that is a network of hosts, the address of the network itself is left out.
func Sample(p netip.Prefix, n int) []netip.Addr {
	p = p.Masked()
	host := p.Addr().BitLen() - p.Bits()
	if n <= 0 || !p.IsValid() {
		return nil
	}
	if host < 16 && 1<<host <= n {
		var out []netip.Addr
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			out = append(out, a)
		}
		return out
	}
	// Offsets are multiples of a step in the lowest bits of the host part: what is sampled of a huge prefix is its beginning.
	bits := min(host, 16)
	var out []netip.Addr
	last := 1<<bits - 1
	for i := range n {
		at := last
		if n > 1 {
			at = i * last / (n - 1)
		}
		if i == 0 && host > 16 {
			at = 1
		}
		b := p.Addr().AsSlice()
		low := binary.BigEndian.Uint16(b[len(b)-2:])
		binary.BigEndian.PutUint16(b[len(b)-2:], low+uint16(at))
		a, _ := netip.AddrFromSlice(b)
		out = append(out, a)
	}
	return slices.Compact(out)
}

// Tokens mark the packets of a proof: the source port of TCP, the identifier of an echo. They lie above the ports that the
// kernel gives to connections of this machine (ip_local_port_range), and follow from the address, so that an entry that
// conntrack still has of an earlier proof leads to the same address.
const (
	TokenFirst = 0xf001
	// OwnToken is for the link's own address, which nothing translates.
	OwnToken  = 0xf000
	tokenSpan = 0xfff
)

// Tokens gives each address of a link its token: different ones for different addresses, the same for the same list.
// At most tokenSpan addresses have one.
func Tokens(addresses []netip.Addr) map[netip.Addr]uint16 {
	out, taken := map[netip.Addr]uint16{}, map[uint16]bool{}
	for _, a := range slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare) {
		if _, ok := out[a]; ok || len(out) == tokenSpan {
			continue
		}
		h := fnv.New32a()
		h.Write(a.AsSlice())
		t := uint16(h.Sum32() % tokenSpan)
		for taken[t] {
			t = (t + 1) % tokenSpan
		}
		taken[t] = true
		out[a] = TokenFirst + t
	}
	return out
}
