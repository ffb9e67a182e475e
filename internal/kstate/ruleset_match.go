package kstate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bothways/internal/route"
)

// Direction says which of two ends of a packet or a hop is meant.
type Direction uint8

// Directions.
const (
	In  Direction = iota // the interface that the packet came by
	Out                  // the interface that it leaves by
)

func (d Direction) ifname() string { return [...]string{"iifname", "oifname"}[min(d, Out)] }

// End is one end of a packet.
type End uint8

// Ends.
const (
	Source End = iota
	Destination
)

// MatchInterface matches by the name of an interface: one of Names, or a member of the named Set.
type MatchInterface struct {
	Direction Direction
	Not       bool
	Names     []string
	Set       string
}

// MatchFamily matches packets of a family.
type MatchFamily struct{ Family route.Family }

// AddressOf says whose address is meant.
type AddressOf uint8

// Owners of addresses. Those of a connection are as its packets have them in one direction: where the source is translated,
// the destination of Replies is what it is translated to.
const (
	OfPacket AddressOf = iota
	OfRequests
	OfReplies
)

// MatchAddress matches an address: one of Prefixes, all of one family, or a member of the named Set of Family.
// It implies MatchFamily. A packet without a connection has none of a connection's.
type MatchAddress struct {
	Of       AddressOf
	End      End
	Not      bool
	Prefixes []netip.Prefix
	Set      string
	Family   route.Family // needed with Set only
}

// L4Protocol is a protocol above IP, with IANA's number.
type L4Protocol uint8

// Protocols. AnyProtocol, in MatchPort, leaves the check that there are ports to a MatchProtocol before.
const (
	AnyProtocol L4Protocol = 0
	ICMP        L4Protocol = 1
	TCP         L4Protocol = 6
	UDP         L4Protocol = 17
	ICMPv6      L4Protocol = 58
)

func (p L4Protocol) String() string {
	switch p {
	case AnyProtocol:
		return "th"
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMPv6:
		return "ipv6-icmp"
	}
	return fmt.Sprint(uint8(p))
}

// MatchProtocol matches the protocol above IP, of both families.
type MatchProtocol struct {
	Not       bool
	Protocols []L4Protocol
}

// MatchPort matches a port. It implies MatchProtocol.
type MatchPort struct {
	Protocol L4Protocol // TCP, UDP or AnyProtocol
	End      End
	Not      bool
	Ports    []uint16
}

// ConnState is a set of conntrack's states of a packet.
type ConnState uint32

// States, with the kernel's bits.
const (
	StateInvalid     ConnState = 1
	StateEstablished ConnState = 2
	StateRelated     ConnState = 4
	StateNew         ConnState = 8
	StateUntracked   ConnState = 64
)

// MatchState matches packets in one of States. Not needs exactly one.
type MatchState struct {
	Not    bool
	States ConnState
}

// MatchReply matches packets in a connection's reply direction; with Original those in the other.
type MatchReply struct{ Original bool }

// MatchTranslated matches connections whose destination, or with Source whose source, was translated.
type MatchTranslated struct{ Source, Not bool }

// MatchFirst matches the packet that opens a connection. Its translation is decided behind what matches before NAT.
type MatchFirst struct{}

// MatchImpossibleSource matches IPv4 packets whose source is one of this machine's addresses, or no single host's. Zero is
// let through: it is that of a host which asks for an address.
type MatchImpossibleSource struct{}

// MarkOf says whose mark is meant.
type MarkOf uint8

// Owners of marks.
const (
	ConnMark   MarkOf = iota // the connection's
	PacketMark               // the packet's
)

func (m MarkOf) String() string { return [...]string{"ct mark", "meta mark"}[min(m, PacketMark)] }

// MatchMark matches the bits of a mark in Mask. Mask 0 stands for all of them.
type MatchMark struct {
	Of    MarkOf
	Mask  uint32
	Not   bool
	Value uint32
}

// MatchDSCP matches the differentiated services code point, of one family.
type MatchDSCP struct {
	Family route.Family
	Value  uint8
}

// MatchSYN matches TCP packets with SYN and without RST: both that open a connection.
type MatchSYN struct{}

// MatchEcho matches ICMP echo requests of a family with an identifier. It implies MatchFamily and MatchProtocol.
type MatchEcho struct {
	Family route.Family
	ID     uint16
}

func (MatchEcho) isPart()             {}
func (MatchInterface) isPart()        {}
func (MatchFamily) isPart()           {}
func (MatchAddress) isPart()          {}
func (MatchProtocol) isPart()         {}
func (MatchPort) isPart()             {}
func (MatchState) isPart()            {}
func (MatchReply) isPart()            {}
func (MatchTranslated) isPart()       {}
func (MatchFirst) isPart()            {}
func (MatchImpossibleSource) isPart() {}
func (MatchMark) isPart()             {}
func (MatchDSCP) isPart()             {}
func (MatchSYN) isPart()              {}

// comparison prints the right-hand side: a set by name, one element, or an anonymous set.
func comparison(not bool, set string, elements []string) string {
	s := ""
	if not {
		s = "!= "
	}
	switch {
	case set != "":
		return s + "@" + set
	case len(elements) == 1:
		return s + elements[0]
	}
	return s + "{ " + strings.Join(elements, ", ") + " }"
}

func (m MatchInterface) String() string {
	return m.Direction.ifname() + " " + comparison(m.Not, m.Set, quoted(m.Names))
}

func (m MatchFamily) String() string { return "meta nfproto " + m.Family.String() }

// FamilyOf returns the family of the addresses that are matched.
func (m MatchAddress) FamilyOf() route.Family {
	if len(m.Prefixes) > 0 {
		return route.FamilyOf(m.Prefixes[0].Addr())
	}
	return m.Family
}

func (m MatchAddress) is4() bool { return m.FamilyOf() == route.IPv4 }

func (m MatchAddress) String() string {
	s := "ip6 "
	if m.is4() {
		s = "ip "
	}
	s = [...]string{"", "ct original ", "ct reply "}[min(m.Of, OfReplies)] + s
	return s + [...]string{"saddr ", "daddr "}[min(m.End, Destination)] + comparison(m.Not, m.Set, prefixElements(m.Prefixes))
}

func (m MatchProtocol) String() string {
	var names []string
	for _, p := range slices.Sorted(slices.Values(m.Protocols)) {
		names = append(names, p.String())
	}
	return "meta l4proto " + comparison(m.Not, "", names)
}

func (m MatchPort) String() string {
	var ports []string
	for _, p := range slices.Sorted(slices.Values(m.Ports)) {
		ports = append(ports, fmt.Sprint(p))
	}
	return m.Protocol.String() + [...]string{" sport ", " dport "}[min(m.End, Destination)] + comparison(m.Not, "", ports)
}

func (m MatchState) String() string {
	var names []string
	for _, s := range []struct {
		bit  ConnState
		name string
	}{{StateInvalid, "invalid"}, {StateEstablished, "established"}, {StateRelated, "related"}, {StateNew, "new"}, {StateUntracked, "untracked"}} {
		if m.States&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return "ct state " + comparison(m.Not, "", []string{strings.Join(names, ",")})
}

func (m MatchReply) String() string {
	if m.Original {
		return "ct direction original"
	}
	return "ct direction reply"
}

func (m MatchTranslated) String() string {
	what := "dnat"
	if m.Source {
		what = "snat"
	}
	if m.Not {
		what = "! " + what
	}
	return "ct status " + what
}

func (MatchFirst) String() string { return "ct status ! confirmed" }

func (MatchImpossibleSource) String() string { return "ip saddr != 0.0.0.0 fib saddr type != unicast" }

func (m MatchMark) String() string {
	if m.Mask == 0 {
		return m.Of.String() + " " + comparison(m.Not, "", []string{hex(m.Value)})
	}
	op := "=="
	if m.Not {
		op = "!="
	}
	return fmt.Sprintf("%s & %s %s %s", m.Of, hex(m.Mask), op, hex(m.Value))
}

func (m MatchDSCP) String() string {
	s := "ip6 dscp "
	if m.Family == route.IPv4 {
		s = "ip dscp "
	}
	return s + dscpName(m.Value)
}

// dscpName is a code point as nft prints it: class selectors, assured and expedited forwarding by name.
func dscpName(v uint8) string {
	switch {
	case v == 0x2e:
		return "ef"
	case v%8 == 0:
		return fmt.Sprintf("cs%d", v/8)
	case v >= 10 && v <= 38 && v%2 == 0 && v%8 <= 6:
		return fmt.Sprintf("af%d%d", v/8, v%8/2)
	}
	return fmt.Sprintf("0x%02x", v)
}

func (m MatchEcho) String() string {
	name := "icmpv6"
	if m.Family == route.IPv4 {
		name = "icmp"
	}
	return fmt.Sprintf("%s type echo-request %s id %d", name, name, m.ID)
}

func (MatchSYN) String() string { return "tcp flags syn / syn,rst" }
