package message

import (
	"hash/maphash"
	"net/netip"

	"bothways/internal/route"
)

// cacheSize is how many attribute sets one generation of a decoder's cache holds. A full Internet table has some
// 100,000 to 200,000 sets per neighbor; two generations hold most of them.
const cacheSize = 1 << 16

// Decoder turns the UPDATEs of one session into values. It is for one goroutine.
//
// Attribute sets are interned by their bytes, in two generations: when the younger one is full, it becomes the older,
// and what is used again is taken along. So memory is bounded, and what repeats keeps its pointer.
type Decoder struct {
	opts       Options
	ipv4, ipv6 bool
	prefixes   arena
	key        []byte
	seed       maphash.Seed
	young, old attrCache
	cacheLimit int
	serial     uint32 // of the last new set
}

// Uses of an attribute list, which differ in what is mandatory and where the next hop comes from.
const (
	useNone byte = iota // no route is announced
	usePlain
	useMP
)

// NewDecoder makes a decoder for a session that agreed on o.
func NewDecoder(o Options) *Decoder {
	return &Decoder{
		opts: o, cacheLimit: cacheSize,
		ipv4: hasFamily(o.Families, route.IPv4), ipv6: hasFamily(o.Families, route.IPv6),
		seed: maphash.MakeSeed(),
	}
}

// Result collects what UPDATEs say, in their order.
type Result struct {
	Updates     []route.Update
	Diagnostics []Diagnostic
}

// mpAttr is MP_REACH_NLRI or MP_UNREACH_NLRI after its header.
type mpAttr struct {
	present            bool
	bad                *NotificationError // calls for treat-as-withdraw
	family             route.Family
	nextHop, linkLocal netip.Addr
	hopBytes           []byte
	nlri               []byte
}

// Decode reads the body of an UPDATE and appends what it says to r. endOfRIB is the family whose End-of-RIB the message
// is, or 0 (RFC 4724, section 2). The error is a *NotificationError: the session must end.
func (d *Decoder) Decode(body []byte, r *Result) (endOfRIB route.Family, err error) {
	withdrawnBytes, attrBytes, nlriBytes, err := splitUpdate(body)
	if err != nil {
		return 0, err
	}
	if len(body) == 4 {
		return route.IPv4, nil
	}
	withdrawn, ok := d.prefixes.parsePrefixes(route.IPv4, withdrawnBytes)
	if !ok {
		return 0, notify(CodeUpdate, InvalidNetworkField, nil, "withdrawn routes are malformed")
	}
	announced, ok := d.prefixes.parsePrefixes(route.IPv4, nlriBytes)
	if !ok {
		return 0, notify(CodeUpdate, InvalidNetworkField, nil, "announced routes are malformed")
	}

	reach, unreach, err := d.scan(attrBytes)
	if err != nil {
		return 0, err
	}
	if unreach.present && len(unreach.nlri) == 0 && !reach.present && len(d.key) == 0 && len(body) == 4+len(attrBytes) {
		return unreach.family, nil // 0 for a family that is not ours
	}
	return 0, d.assemble(r, withdrawn, announced, reach, unreach)
}

// splitUpdate cuts the body into its three parts (RFC 4271, section 4.3). Lengths that contradict each other leave
// nothing to go by (RFC 7606, section 3 b).
func splitUpdate(body []byte) (withdrawn, attrs, nlri []byte, err error) {
	if len(body) < 4 {
		return nil, nil, nil, notify(CodeUpdate, MalformedAttributeList, nil, "body of %d bytes", len(body))
	}
	n := int(be16(body))
	if len(body) < 4+n {
		return nil, nil, nil, notify(CodeUpdate, MalformedAttributeList, nil, "withdrawn routes of %d bytes run over the end", n)
	}
	withdrawn, body = body[2:2+n], body[2+n:]
	n = int(be16(body))
	if len(body) < 2+n {
		return nil, nil, nil, notify(CodeUpdate, MalformedAttributeList, nil, "attributes of %d bytes run over the end", n)
	}
	return withdrawn, body[2 : 2+n], body[2+n:], nil
}

// scan finds the multiprotocol attributes and leaves the bytes of all others in d.key.
func (d *Decoder) scan(b []byte) (reach, unreach mpAttr, err error) {
	d.key = d.key[:0]
	for len(b) > 0 {
		t, rest, ok := nextTLV(b)
		if !ok {
			d.key = append(d.key, b...) // parseAttrs will find it again
			return reach, unreach, nil
		}
		b = rest
		switch t.kind {
		case AttrMPReach:
			if reach.present {
				return reach, unreach, notify(CodeUpdate, MalformedAttributeList, nil, "%s appears twice", t.kind) // RFC 7606, 3 g
			}
			if reach, err = d.parseReach(t); err != nil {
				return reach, unreach, err
			}
		case AttrMPUnreach:
			if unreach.present {
				return reach, unreach, notify(CodeUpdate, MalformedAttributeList, nil, "%s appears twice", t.kind)
			}
			if unreach, err = d.parseUnreach(t); err != nil {
				return reach, unreach, err
			}
		default:
			d.key = append(d.key, t.raw...)
		}
	}
	return reach, unreach, nil
}

// parseReach reads MP_REACH_NLRI (RFC 4760, section 3).
func (d *Decoder) parseReach(t tlv) (mpAttr, error) {
	m := mpAttr{present: true}
	v := t.value
	if len(v) < 5 || len(v) < 5+int(v[3]) {
		return m, notify(CodeUpdate, OptionalAttributeError, t.raw, "%s of %d bytes", t.kind, len(v))
	}
	m.family = familyOf(be16(v), v[2])
	hop := v[4 : 4+int(v[3])]
	m.hopBytes, m.nlri = hop, v[5+len(hop):] // a reserved byte lies between
	if !d.speaks(m.family) {
		return m, nil
	}
	// RFC 7606, section 7.11: a next hop of the wrong length means that what follows may be anything.
	switch {
	case m.family == route.IPv4 && len(hop) == 4:
		m.nextHop = netip.AddrFrom4([4]byte(hop))
	case m.family == route.IPv6 && (len(hop) == 16 || len(hop) == 32):
		m.nextHop = netip.AddrFrom16([16]byte(hop))
		if len(hop) == 32 {
			m.linkLocal = netip.AddrFrom16([16]byte(hop[16:]))
		}
		// Some send the link-local address alone, or behind an empty global one.
		if m.nextHop.IsUnspecified() && m.linkLocal.IsLinkLocalUnicast() {
			m.nextHop = m.linkLocal
		} else if m.nextHop.IsLinkLocalUnicast() {
			m.linkLocal = m.nextHop
		}
		if !m.linkLocal.IsLinkLocalUnicast() {
			m.linkLocal = netip.Addr{}
		}
	default:
		return m, notify(CodeUpdate, OptionalAttributeError, t.raw, "%s: next hop of %d bytes for %s", t.kind, len(hop), m.family)
	}
	if want, _ := t.kind.wantFlags(); t.flags&(flagOptional|flagTransitive) != want {
		m.bad = notify(CodeUpdate, AttributeFlagsError, t.raw, "flags %#02x", t.flags)
	} else if !usableNextHop(m.nextHop) {
		m.bad = notify(CodeUpdate, OptionalAttributeError, t.raw, "%s cannot be a next hop", m.nextHop)
	}
	return m, nil
}

// parseUnreach reads MP_UNREACH_NLRI (RFC 4760, section 4). Wrong flags change nothing: it withdraws already.
func (d *Decoder) parseUnreach(t tlv) (mpAttr, error) {
	v := t.value
	if len(v) < 3 {
		return mpAttr{}, notify(CodeUpdate, OptionalAttributeError, t.raw, "%s of %d bytes", t.kind, len(v))
	}
	return mpAttr{present: true, family: familyOf(be16(v), v[2]), nlri: v[3:]}, nil
}

func (d *Decoder) speaks(f route.Family) bool {
	return f == route.IPv4 && d.ipv4 || f == route.IPv6 && d.ipv6
}

// assemble turns the parts of one UPDATE into at most one route.Update per family and next hop.
func (d *Decoder) assemble(r *Result, withdrawn, announced []netip.Prefix, reach, unreach mpAttr) error {
	if len(withdrawn)+len(announced) > 0 && !d.ipv4 {
		r.Diagnostics = append(r.Diagnostics, Diagnostic{Ignored, 0, "ipv4 routes, but the family was not agreed on"})
		withdrawn, announced = nil, nil
	}
	plain := len(announced) > 0
	if len(d.key) > 0 && !plain && !reach.present {
		// Routes that are only withdrawn need no attributes. Errors in what came along all the same may hide
		// routes, so they end the session (RFC 7606, section 5.2).
		set := d.attrs(useNone, mpAttr{})
		if set.fatal != nil {
			return set.fatal
		}
		if set.bad != nil {
			return set.bad
		}
		r.Diagnostics = append(r.Diagnostics, set.diagnostics...)
	}
	if plain || len(withdrawn) > 0 {
		u := route.Update{Family: route.IPv4, Withdrawn: withdrawn}
		if plain {
			if err := d.announce(r, &u, announced, usePlain, mpAttr{}); err != nil {
				return err
			}
		}
		r.Updates = append(r.Updates, u)
	}
	return d.assembleMP(r, reach, unreach)
}

func (d *Decoder) assembleMP(r *Result, reach, unreach mpAttr) error {
	var gone, come []netip.Prefix
	if unreach.present {
		if !d.speaks(unreach.family) {
			r.Diagnostics = append(r.Diagnostics, Diagnostic{Ignored, AttrMPUnreach, "the family was not agreed on"})
		} else if list, ok := d.prefixes.parsePrefixes(unreach.family, unreach.nlri); ok {
			gone = list
		} else {
			return notify(CodeUpdate, InvalidNetworkField, nil, "%s: routes are malformed", AttrMPUnreach)
		}
	}
	if reach.present {
		if !d.speaks(reach.family) {
			r.Diagnostics = append(r.Diagnostics, Diagnostic{Ignored, AttrMPReach, "the family was not agreed on"})
		} else if list, ok := d.prefixes.parsePrefixes(reach.family, reach.nlri); ok {
			come = list
		} else {
			return notify(CodeUpdate, InvalidNetworkField, nil, "%s: routes are malformed", AttrMPReach)
		}
	}
	if len(gone) > 0 && (len(come) == 0 || reach.family != unreach.family) {
		r.Updates = append(r.Updates, route.Update{Family: unreach.family, Withdrawn: gone})
		gone = nil
	}
	if len(come) > 0 {
		u := route.Update{Family: reach.family, Withdrawn: gone}
		if err := d.announce(r, &u, come, useMP, reach); err != nil {
			return err
		}
		r.Updates = append(r.Updates, u)
	}
	return nil
}

// announce gives u its announced prefixes, or withdraws them where an attribute is wrong.
func (d *Decoder) announce(r *Result, u *route.Update, announced []netip.Prefix, use byte, mp mpAttr) error {
	set := d.attrs(use, mp)
	if set.fatal != nil {
		return set.fatal
	}
	r.Diagnostics = append(r.Diagnostics, set.diagnostics...)
	if mp.bad != nil {
		r.Diagnostics = append(r.Diagnostics, Diagnostic{TreatedAsWithdrawn, AttrMPReach, mp.bad.Detail})
	}
	u.Withdrawn = without(u.Withdrawn, announced)
	if set.bad != nil || mp.bad != nil {
		if len(u.Withdrawn) > 0 {
			announced = append(announced, u.Withdrawn...)
		}
		u.Withdrawn = announced
		return nil
	}
	u.Announced, u.Attrs = announced, set.attrs
	return nil
}

// attrs gives what the bytes in d.key mean, from the cache if they were seen before.
func (d *Decoder) attrs(use byte, mp mpAttr) attrSet {
	n := len(d.key)
	key := append(d.key, mp.hopBytes...)
	key = append(key, use, byte(len(mp.hopBytes)))
	d.key = key[:n] // keeps what append may have grown
	hash := attrHash(d.seed, key)
	if c := d.young.get(hash, key); c != nil {
		return attrSet{attrs: c.attrs, diagnostics: c.diagnostics}
	}
	var set attrSet
	if c := d.old.get(hash, key); c != nil {
		set = attrSet{attrs: c.attrs, diagnostics: c.diagnostics}
	} else {
		set = parseAttrs(d.key, d.opts.FourOctetAS, use != useNone, mp.nextHop, mp.linkLocal)
		if set.bad != nil || set.fatal != nil {
			return set // not worth keeping
		}
		d.serial++
		set.attrs.Serial = d.serial
	}
	if d.young.n >= d.cacheLimit {
		d.old, d.young = d.young, attrCache{}
	}
	d.young.add(hash, key, set.attrs, set.diagnostics)
	return set
}
