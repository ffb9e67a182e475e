package flow

import (
	"net/netip"

	"bothways/internal/route"
)

// Flow is a tracked connection.
type Flow struct {
	Family   route.Family
	Protocol uint8
	// Source and Destination are as the first packet had them; the ports are 0 where the protocol has none.
	Source, Destination netip.AddrPort
	// Translated is the source as the other end sees it: a pool's address, or Source itself.
	Translated netip.Addr
	// ICMP of an echo; they identify it as ports do elsewhere.
	ICMPType, ICMPCode uint8
	ICMPID             uint16
	// Link is the one that its mark names.
	Link route.Link
	// Inbound: opened from outside, by its link.
	Inbound bool
	// Answered: packets have come back.
	Answered bool
}

// Remote is the end that is not the site's.
func (f Flow) Remote() netip.Addr {
	if f.Inbound {
		return f.Source.Addr()
	}
	return f.Destination.Addr()
}

// Mark names the connections of one link in one family, as the kernel finds them.
type Mark struct {
	Family route.Family
	Link   route.Link
	Value  uint32 // in Mask
	Mask   uint32
	// Counted: they are only to be counted, and nothing is done to them.
	Counted bool
}
