package message

import (
	"fmt"

	"bothways/internal/route"
)

// AttrType is the type code of a path attribute.
type AttrType uint8

// Attribute types that this package reads or checks.
const (
	AttrOrigin             AttrType = 1
	AttrASPath             AttrType = 2
	AttrNextHop            AttrType = 3
	AttrMED                AttrType = 4
	AttrLocalPref          AttrType = 5
	AttrAtomicAggregate    AttrType = 6
	AttrAggregator         AttrType = 7
	AttrCommunities        AttrType = 8
	AttrOriginatorID       AttrType = 9
	AttrClusterList        AttrType = 10
	AttrMPReach            AttrType = 14
	AttrMPUnreach          AttrType = 15
	AttrExtCommunities     AttrType = 16
	AttrAS4Path            AttrType = 17
	AttrAS4Aggregator      AttrType = 18
	AttrIPv6ExtCommunities AttrType = 25
	AttrLargeCommunities   AttrType = 32
	AttrOTC                AttrType = 35
)

func (t AttrType) String() string {
	switch t {
	case AttrOrigin:
		return "ORIGIN"
	case AttrASPath:
		return "AS_PATH"
	case AttrNextHop:
		return "NEXT_HOP"
	case AttrMED:
		return "MULTI_EXIT_DISC"
	case AttrLocalPref:
		return "LOCAL_PREF"
	case AttrAtomicAggregate:
		return "ATOMIC_AGGREGATE"
	case AttrAggregator:
		return "AGGREGATOR"
	case AttrCommunities:
		return "COMMUNITIES"
	case AttrOriginatorID:
		return "ORIGINATOR_ID"
	case AttrClusterList:
		return "CLUSTER_LIST"
	case AttrMPReach:
		return "MP_REACH_NLRI"
	case AttrMPUnreach:
		return "MP_UNREACH_NLRI"
	case AttrExtCommunities:
		return "EXTENDED_COMMUNITIES"
	case AttrAS4Path:
		return "AS4_PATH"
	case AttrAS4Aggregator:
		return "AS4_AGGREGATOR"
	case AttrIPv6ExtCommunities:
		return "IPV6_EXTENDED_COMMUNITIES"
	case AttrLargeCommunities:
		return "LARGE_COMMUNITIES"
	case AttrOTC:
		return "ONLY_TO_CUSTOMER"
	}
	return fmt.Sprintf("attribute %d", uint8(t))
}

// Bits of an attribute's flags (RFC 4271, section 4.3).
const (
	flagOptional   = 0x80
	flagTransitive = 0x40
	flagExtended   = 0x10
)

// wantFlags are the optional and transitive bits that a known type must have; ok is false for an unknown one.
func (t AttrType) wantFlags() (flags byte, ok bool) {
	switch t {
	case AttrOrigin, AttrASPath, AttrNextHop, AttrLocalPref, AttrAtomicAggregate:
		return flagTransitive, true
	case AttrMED, AttrOriginatorID, AttrClusterList, AttrMPReach, AttrMPUnreach:
		return flagOptional, true
	case AttrAggregator, AttrCommunities, AttrExtCommunities, AttrAS4Path, AttrAS4Aggregator, AttrIPv6ExtCommunities,
		AttrLargeCommunities, AttrOTC:
		return flagOptional | flagTransitive, true
	}
	return 0, false
}

// tlv is one attribute, its value a view into the message.
type tlv struct {
	flags byte
	kind  AttrType
	value []byte
	raw   []byte // header included
}

// nextTLV cuts the first attribute off b. It fails where the attribute does not fit (RFC 7606, section 4).
func nextTLV(b []byte) (a tlv, rest []byte, ok bool) {
	if len(b) < 3 {
		return tlv{}, nil, false
	}
	head, n := 3, int(b[2])
	if b[0]&flagExtended != 0 {
		if len(b) < 4 {
			return tlv{}, nil, false
		}
		head, n = 4, int(be16(b[2:]))
	}
	if len(b) < head+n {
		return tlv{}, nil, false
	}
	return tlv{flags: b[0], kind: AttrType(b[1]), value: b[head : head+n], raw: b[:head+n]}, b[head+n:], true
}

// Action is what was done about an error in an UPDATE, mildest first (RFC 7606, section 2). A session reset is an
// error, not an Action.
type Action uint8

// Actions.
const (
	Ignored            Action = iota // part of the message is not for us, such as a family that was not negotiated
	AttributeDiscarded               // the attribute is left out, the routes are taken
	TreatedAsWithdrawn               // the routes are withdrawn
)

func (a Action) String() string {
	switch a {
	case Ignored:
		return "ignored"
	case AttributeDiscarded:
		return "attribute discard"
	case TreatedAsWithdrawn:
		return "treat-as-withdraw"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Diagnostic is one thing that was wrong with an UPDATE that did not end the session.
type Diagnostic struct {
	Action    Action
	Attribute AttrType // 0 for the message as a whole
	Text      string
}

func (d Diagnostic) String() string {
	if d.Attribute == 0 {
		return d.Action.String() + ": " + d.Text
	}
	return d.Action.String() + ": " + d.Attribute.String() + ": " + d.Text
}

// Options are what the two OPENs agreed on, as far as it changes how UPDATEs read and are written.
type Options struct {
	FourOctetAS bool
	Extended    bool // RFC 8654
	Families    []route.Family
}

// Limit is the length that a message may have.
func (o Options) Limit() int {
	if o.Extended {
		return MaxExtendedLen
	}
	return MaxLen
}
