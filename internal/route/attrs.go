package route

import (
	"fmt"
	"net/netip"
)

// Origin is the ORIGIN attribute; lower is better (RFC 4271, section 9.1.2.2 b).
type Origin uint8

// Origins.
const (
	OriginIGP        Origin = 0
	OriginEGP        Origin = 1
	OriginIncomplete Origin = 2
)

func (o Origin) String() string {
	switch o {
	case OriginIGP:
		return "igp"
	case OriginEGP:
		return "egp"
	case OriginIncomplete:
		return "incomplete"
	}
	return fmt.Sprintf("origin(%d)", uint8(o))
}

// Attrs is the attribute set of a route as it was received. It is immutable and shared by all routes of an UPDATE,
// and by later UPDATEs of the session with the same bytes. What this project never uses or sends on (cluster lists,
// extended communities, unknown attributes: the site is no transit) is not kept.
type Attrs struct {
	Origin      Origin
	Serial      uint32 // which new set of its session it was: a good place to look for what is kept of it, and nothing else
	Path        ASPath
	NextHop     netip.Addr // the global next hop
	LinkLocal   netip.Addr // IPv6's second next hop, RFC 2545; invalid where there is none
	MED         uint32     // 0 where HasMED is false, as the decision takes it
	HasMED      bool
	Communities []Community
	Large       []LargeCommunity
	OTC         uint32 // Only To Customer, RFC 9234; 0 where there is none
	Atomic      bool   // ATOMIC_AGGREGATE
}

// HasCommunity reports whether c is among the communities.
func (a *Attrs) HasCommunity(c Community) bool {
	for _, have := range a.Communities {
		if have == c {
			return true
		}
	}
	return false
}

// Update is what one UPDATE says of one family. A prefix is in at most one of the two lists
// (RFC 4271, section 4.3: announced wins).
type Update struct {
	Family    Family
	Withdrawn []netip.Prefix
	Announced []netip.Prefix
	Attrs     *Attrs // nil where nothing is announced
}

// Announcement is a prefix that the site announces on a link. The session adds what belongs to the link:
// its AS, its address as the next hop.
type Announcement struct {
	Prefix      netip.Prefix
	Prepend     int // times that the own AS is added beyond the one that every announcement carries
	Communities []Community
	Large       []LargeCommunity
}
