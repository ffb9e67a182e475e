package message

import (
	"fmt"
	"net/netip"

	"bothways/internal/route"
)

// attrSet is what the bytes of an attribute list mean, kept for the next UPDATE with the same bytes.
type attrSet struct {
	attrs       *route.Attrs
	diagnostics []Diagnostic
	// bad is the first error that calls for treat-as-withdraw, nil if there is none.
	bad *NotificationError
	// fatal is an error that ends the session.
	fatal *NotificationError
}

// attrParser reads one attribute list.
type attrParser struct {
	set       attrSet
	fourOctet bool
	seen      [4]uint64 // bit per attribute type
	as4Path   route.ASPath
	haveAS4   bool
	aggAS     uint32 // of AGGREGATOR, 0 where there is none
}

func (p *attrParser) mark(t AttrType) (again bool) {
	word, bit := t>>6, uint64(1)<<(t&63)
	again = p.seen[word]&bit != 0
	p.seen[word] |= bit
	return again
}

func (p *attrParser) has(t AttrType) bool { return p.seen[t>>6]&(1<<(t&63)) != 0 }

// withdraw notes an error that makes the routes withdrawn. The subcode is what the session would end with if there are
// no routes that could be withdrawn instead (RFC 7606, section 5.2).
func (p *attrParser) withdraw(t AttrType, s Subcode, raw []byte, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.set.diagnostics = append(p.set.diagnostics, Diagnostic{TreatedAsWithdrawn, t, text})
	if p.set.bad == nil {
		p.set.bad = notify(CodeUpdate, s, raw, "%s", text)
		if t != 0 {
			p.set.bad.Detail = t.String() + ": " + text
		}
	}
}

func (p *attrParser) discard(t AttrType, format string, args ...any) {
	p.set.diagnostics = append(p.set.diagnostics, Diagnostic{AttributeDiscarded, t, fmt.Sprintf(format, args...)})
}

// parseAttrs reads the attributes of rest, which holds no multiprotocol attribute. nextHop is the one of MP_REACH_NLRI,
// or invalid where the NEXT_HOP attribute counts. With mandatory, well-known attributes may not be missing.
func parseAttrs(rest []byte, fourOctet, mandatory bool, nextHop, linkLocal netip.Addr) attrSet {
	p := attrParser{fourOctet: fourOctet}
	a := &route.Attrs{}
	p.set.attrs = a
	for len(rest) > 0 {
		t, next, ok := nextTLV(rest)
		if !ok {
			// RFC 7606, section 4. What follows cannot be read, so there is nothing to go on with.
			p.withdraw(0, MalformedAttributeList, nil, "attribute list is cut off")
			break
		}
		rest = next
		if p.mark(t.kind) {
			p.discard(t.kind, "appears again") // RFC 7606, section 3 g
			continue
		}
		if t.kind == AttrNextHop && nextHop.IsValid() {
			continue // RFC 4760, section 3: beside MP_REACH_NLRI it means nothing, whatever it is
		}
		want, known := t.kind.wantFlags()
		switch {
		case !known && t.flags&flagOptional == 0:
			// RFC 4271, section 6.3; not changed by RFC 7606.
			p.set.fatal = notify(CodeUpdate, UnrecognizedAttribute, t.raw, "well-known attribute %d is not known", t.kind)
			return p.set
		case known && t.flags&(flagOptional|flagTransitive) != want:
			// RFC 7606, section 3 c; for what is discarded anyway the flags do not matter.
			if !p.harmless(t.kind) {
				p.withdraw(t.kind, AttributeFlagsError, t.raw, "flags %#02x", t.flags)
				continue
			}
		}
		p.attribute(a, t)
	}
	p.mergeAS4(a)
	if mandatory {
		p.missing(nextHop)
	}
	if nextHop.IsValid() {
		a.NextHop, a.LinkLocal = nextHop, linkLocal
	}
	return p.set
}

// harmless reports whether an error in the attribute is answered by leaving it out (RFC 7606, section 7).
func (p *attrParser) harmless(t AttrType) bool {
	switch t {
	case AttrLocalPref, AttrOriginatorID, AttrClusterList, AttrAtomicAggregate, AttrAggregator, AttrAS4Aggregator, AttrAS4Path:
		return true
	}
	return false
}

// missing checks for the well-known mandatory attributes (RFC 7606, section 3 d).
func (p *attrParser) missing(nextHop netip.Addr) {
	for _, t := range []AttrType{AttrOrigin, AttrASPath, AttrNextHop} {
		if p.has(t) || t == AttrNextHop && nextHop.IsValid() {
			continue
		}
		p.withdraw(t, MissingAttribute, []byte{byte(t)}, "is missing")
	}
}

func (p *attrParser) attribute(a *route.Attrs, t tlv) {
	v := t.value
	switch t.kind {
	case AttrOrigin:
		if len(v) != 1 {
			p.withdraw(t.kind, AttributeLengthError, t.raw, "%d bytes, want 1", len(v))
		} else if v[0] > byte(route.OriginIncomplete) {
			p.withdraw(t.kind, InvalidOrigin, t.raw, "value %d", v[0])
		} else {
			a.Origin = route.Origin(v[0])
		}
	case AttrASPath:
		width := 2
		if p.fourOctet {
			width = 4
		}
		path, err := parseASPath(v, width)
		if err != nil {
			p.withdraw(t.kind, MalformedASPath, nil, "%v", err)
		}
		a.Path = path
	case AttrNextHop:
		p.nextHop(a, t)
	case AttrMED:
		if len(v) != 4 {
			p.withdraw(t.kind, AttributeLengthError, t.raw, "%d bytes, want 4", len(v))
		} else {
			a.MED, a.HasMED = be32(v), true
		}
	case AttrLocalPref, AttrOriginatorID, AttrClusterList:
		p.discard(t.kind, "not for external neighbors") // RFC 7606, sections 7.5, 7.9, 7.10
	case AttrAtomicAggregate:
		if len(v) != 0 {
			p.discard(t.kind, "%d bytes, want none", len(v))
		} else {
			a.Atomic = true
		}
	case AttrAggregator:
		p.aggregator(t)
	case AttrCommunities:
		if n := len(v); n == 0 || n%4 != 0 {
			p.withdraw(t.kind, OptionalAttributeError, t.raw, "%d bytes, want a multiple of 4", n)
			break
		}
		a.Communities = make([]route.Community, 0, len(v)/4)
		for ; len(v) > 0; v = v[4:] {
			a.Communities = append(a.Communities, route.Community(be32(v)))
		}
	case AttrLargeCommunities:
		if n := len(v); n == 0 || n%12 != 0 {
			p.withdraw(t.kind, OptionalAttributeError, t.raw, "%d bytes, want a multiple of 12", n)
			break
		}
		a.Large = make([]route.LargeCommunity, 0, len(v)/12)
		for ; len(v) > 0; v = v[12:] {
			a.Large = append(a.Large, route.LargeCommunity{be32(v), be32(v[4:]), be32(v[8:])})
		}
	case AttrExtCommunities:
		if n := len(v); n == 0 || n%8 != 0 {
			p.withdraw(t.kind, OptionalAttributeError, t.raw, "%d bytes, want a multiple of 8", n)
		}
	case AttrIPv6ExtCommunities:
		if n := len(v); n == 0 || n%20 != 0 {
			p.withdraw(t.kind, OptionalAttributeError, t.raw, "%d bytes, want a multiple of 20", n)
		}
	case AttrOTC:
		if len(v) != 4 {
			p.withdraw(t.kind, OptionalAttributeError, t.raw, "%d bytes, want 4", len(v)) // RFC 9234, section 5
		} else {
			a.OTC = be32(v)
		}
	case AttrAS4Path:
		p.as4(t)
	case AttrAS4Aggregator:
		if len(v) != 8 {
			p.discard(t.kind, "%d bytes, want 8", len(v))
		}
	}
}

// nextHop reads NEXT_HOP. An address that cannot be anybody's is not syntax but meaning, for which RFC 4271, section
// 6.3, wants the route ignored: the same as withdrawn.
func (p *attrParser) nextHop(a *route.Attrs, t tlv) {
	if len(t.value) != 4 {
		p.withdraw(t.kind, AttributeLengthError, t.raw, "%d bytes, want 4", len(t.value))
		return
	}
	a.NextHop = netip.AddrFrom4([4]byte(t.value))
	if !usableNextHop(a.NextHop) {
		p.withdraw(t.kind, InvalidNextHop, t.raw, "%s cannot be a next hop", a.NextHop)
	}
}

func usableNextHop(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// aggregator checks AGGREGATOR, whose value nobody needs but for the rule of RFC 6793, section 4.2.3.
func (p *attrParser) aggregator(t tlv) {
	want := 6
	if p.fourOctet {
		want = 8
	}
	if len(t.value) != want {
		p.discard(t.kind, "%d bytes, want %d", len(t.value), want)
		return
	}
	as := uint32(be16(t.value))
	if p.fourOctet {
		as = be32(t.value)
	}
	if as == 0 {
		p.discard(t.kind, "AS 0") // RFC 7607, section 2
		return
	}
	p.aggAS = as
}

// as4 reads AS4_PATH, which only a two-byte neighbor may send, and whose errors never cost a route (RFC 6793, sections
// 3 and 6).
func (p *attrParser) as4(t tlv) {
	if p.fourOctet {
		p.discard(t.kind, "from a neighbor with four-octet AS numbers")
		return
	}
	v, confederation := outsideSegments(t.value)
	if confederation {
		p.discard(t.kind, "confederation segments are left out") // RFC 6793, section 6
	}
	path, err := parseASPath(v, 4)
	if err != nil {
		p.discard(t.kind, "%v", err)
		return
	}
	p.as4Path, p.haveAS4 = path, true
}

// mergeAS4 puts AS4_PATH in the place of the hops of AS_PATH that it stands for (RFC 6793, section 4.2.3).
func (p *attrParser) mergeAS4(a *route.Attrs) {
	if !p.haveAS4 || p.aggAS != 0 && p.aggAS != ASTrans {
		return
	}
	lead := a.Path.Len() - p.as4Path.Len()
	if lead < 0 {
		return
	}
	a.Path = joinPaths(a.Path, lead, p.as4Path)
}
