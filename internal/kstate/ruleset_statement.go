package kstate

import (
	"fmt"
	"net/netip"

	"bothways/internal/route"
)

// Count counts the packet: in the named counter, or in one of the rule's own.
type Count struct{ Name string }

// VerdictKind is what becomes of a packet.
type VerdictKind uint8

// Verdicts.
const (
	Accept VerdictKind = iota + 1
	Drop
	Return
	Jump
	Goto
)

// Verdict ends a rule. Chain is for Jump and Goto.
type Verdict struct {
	Kind  VerdictKind
	Chain string
}

// JumpTo and GotoChain build verdicts.
func JumpTo(chain string) Verdict    { return Verdict{Jump, chain} }
func GotoChain(chain string) Verdict { return Verdict{Goto, chain} }

// VerdictByInterface looks the verdict up by an interface's name, in Elements or in the named map. A packet of no
// element goes on.
type VerdictByInterface struct {
	Direction Direction
	Map       string
	Elements  []VerdictElement
}

// VerdictByMark looks the verdict up by the bits of a mark in Mask, in Elements or in the named map.
type VerdictByMark struct {
	Of       MarkOf
	Mask     uint32
	Map      string
	Elements []VerdictElement
}

// NoTrack leaves the packet out of connection tracking. It belongs before priority -200.
type NoTrack struct{}

// SetMark sets the bits of a mark in Mask to those of Value, which has no others. Mask 0 stands for all of them.
type SetMark struct {
	Of          MarkOf
	Mask, Value uint32
}

// SNAT gives the connection a source address between From and To; To may be invalid. Persistent keeps one address
// for one client.
type SNAT struct {
	From, To   netip.Addr
	Persistent bool
}

// DNAT gives the connection a destination, with another port where Port is not 0; that needs a MatchPort of TCP or
// UDP before it.
type DNAT struct {
	To   netip.Addr
	Port uint16
}

// SNATPrefix and DNATPrefix replace the network part of an address and keep the rest, connection by connection. The
// rule must match the prefix that is replaced, of the same length.
type (
	SNATPrefix struct{ To netip.Prefix }
	DNATPrefix struct{ To netip.Prefix }
)

// Masquerade gives the connection the address of the interface that it leaves by.
type Masquerade struct{ Persistent bool }

// ClampMSS lowers TCP's maximum segment size to what the route's MTU carries. It belongs behind routing: forward,
// output or postrouting.
type ClampMSS struct{}

// SetPriority gives the packet the traffic class major:minor. It belongs in postrouting.
type SetPriority struct{ Major, Minor uint16 }

// AddToSet adds the packet's address, or renews it, in a dynamic set.
type AddToSet struct {
	Set    string
	Family route.Family
	End    End
}

func (Count) isPart()              {}
func (Verdict) isPart()            {}
func (VerdictByInterface) isPart() {}
func (VerdictByMark) isPart()      {}
func (NoTrack) isPart()            {}
func (SetMark) isPart()            {}
func (SNAT) isPart()               {}
func (DNAT) isPart()               {}
func (SNATPrefix) isPart()         {}
func (DNATPrefix) isPart()         {}
func (Masquerade) isPart()         {}
func (ClampMSS) isPart()           {}
func (SetPriority) isPart()        {}
func (AddToSet) isPart()           {}

func (c Count) String() string {
	if c.Name == "" {
		return "counter packets 0 bytes 0"
	}
	return fmt.Sprintf("counter name %q", c.Name)
}

func (v Verdict) String() string {
	switch v.Kind {
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	case Return:
		return "return"
	case Jump:
		return "jump " + v.Chain
	case Goto:
		return "goto " + v.Chain
	}
	return fmt.Sprintf("verdict(%d)", uint8(v.Kind))
}

func verdictMap(name string, elements []VerdictElement) string {
	if name != "" {
		return " vmap @" + name
	}
	s := " vmap { "
	for i, e := range verdictElements(elements) {
		if i > 0 {
			s += ", "
		}
		s += e
	}
	return s + " }"
}

func (v VerdictByInterface) String() string {
	return v.Direction.ifname() + verdictMap(v.Map, v.Elements)
}

func (v VerdictByMark) String() string {
	return fmt.Sprintf("%s & %s", v.Of, hex(v.Mask)) + verdictMap(v.Map, v.Elements)
}

func (NoTrack) String() string { return "notrack" }

// String prints the mask as nft does, who adds the bits to be set to those that are kept.
func (s SetMark) String() string {
	switch {
	case s.Mask == 0:
		return fmt.Sprintf("%s set %s", s.Of, hex(s.Value))
	case s.Value == 0:
		return fmt.Sprintf("%s set %s & %s", s.Of, s.Of, hex(^s.Mask))
	}
	return fmt.Sprintf("%s set %s & %s | %s", s.Of, s.Of, hex(^s.Mask|s.Value), hex(s.Value))
}

func (s SNAT) String() string {
	text := "snat " + ipWord(s.From) + " to " + s.From.String()
	if s.To.IsValid() && s.To != s.From {
		if p, ok := prefixOf(s.From, s.To); ok {
			text = "snat " + ipWord(s.From) + " to " + p.String()
		} else {
			text += "-" + s.To.String()
		}
	}
	if s.Persistent {
		text += " persistent"
	}
	return text
}

// prefixOf returns the prefix that is exactly from from to to: nft prints such a range so.
func prefixOf(from, to netip.Addr) (netip.Prefix, bool) {
	for bits := range from.BitLen() {
		p := netip.PrefixFrom(from, bits)
		if p.Masked() == p && LastAddr(p) == to {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// LastAddr returns the highest address of a prefix.
func LastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		if host := 8*(i+1) - p.Bits(); host > 0 {
			b[i] |= byte(1<<min(host, 8) - 1)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func ipWord(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

func (d DNAT) String() string {
	text := "dnat " + ipWord(d.To) + " to "
	if d.Port != 0 {
		return text + netip.AddrPortFrom(d.To, d.Port).String()
	}
	return text + d.To.String()
}

func (s SNATPrefix) String() string {
	return "snat " + ipWord(s.To.Addr()) + " prefix to " + s.To.String()
}
func (d DNATPrefix) String() string {
	return "dnat " + ipWord(d.To.Addr()) + " prefix to " + d.To.String()
}

func (m Masquerade) String() string {
	if m.Persistent {
		return "masquerade persistent"
	}
	return "masquerade"
}

func (ClampMSS) String() string { return "tcp option maxseg size set rt mtu" }

func (s SetPriority) String() string { return fmt.Sprintf("meta priority set %x:%x", s.Major, s.Minor) }

func (a AddToSet) String() string {
	return fmt.Sprintf("update @%s { %s %s }", a.Set, map[bool]string{true: "ip", false: "ip6"}[a.Family == route.IPv4],
		[...]string{"saddr", "daddr"}[min(a.End, Destination)])
}
