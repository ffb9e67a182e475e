package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"bothways/internal/route"
)

// Role is the neighbor's side of the relation as RFC 9234 names it: what the other end is to us.
type Role uint8

// Roles of the neighbor.
const (
	RoleUnset Role = iota
	RoleProvider
	RolePeer
	RoleCustomer
)

// Params are the rules of one link.
type Params struct {
	Accept Accept
	// Circuit additionally rejects the default route and private prefixes.
	Circuit bool
	// OwnAS must not be in a path; NeighborAS must be its first.
	OwnAS, NeighborAS uint32
	// Neighbors are the addresses that a next hop may be; AnyNextHop lifts that (next-hop: peer).
	Neighbors  []netip.Addr
	AnyNextHop bool
	// Role is what the neighbor is to us.
	Role Role
	// Own are inside networks, pools, announced prefixes and subnets of links.
	Own []netip.Prefix
}

// Import judges the routes of one link. It is immutable.
type Import struct {
	params  Params
	own     *bart.Lite
	martian *bart.Lite
	private *bart.Lite
	// suspect has the first byte of every prefix that one of the tables covers: most routes need no search.
	suspect [2][256]bool
}

// NewImport prepares the rules of a link.
func NewImport(p Params) *Import {
	i := &Import{params: p, own: table(p.Own), martian: table(martians()), private: table(privates())}
	for _, list := range [][]netip.Prefix{p.Own, martians(), privates()} {
		for _, q := range list {
			first := int(firstByte(q.Masked()))
			for b := first; b < first+1<<max(8-q.Bits(), 0); b++ {
				i.suspect[familyIndex(q)][b] = true
			}
		}
	}
	return i
}

func firstByte(p netip.Prefix) byte {
	if p.Addr().Is4() {
		return p.Addr().As4()[0]
	}
	return p.Addr().As16()[0]
}

func familyIndex(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

func table(prefixes []netip.Prefix) *bart.Lite {
	t := new(bart.Lite)
	for _, p := range prefixes {
		t.Insert(p.Masked())
	}
	return t
}

// Verdict is the judgement over an attribute set, asked for each of its prefixes.
type Verdict struct {
	reject   Reason
	accepted bool // by all, or by a community
	imp      *Import
}

// Attrs judges what all prefixes of an UPDATE have in common.
func (i *Import) Attrs(a *route.Attrs) Verdict {
	return Verdict{reject: i.attrs(a), accepted: i.params.Accept.attrs(a), imp: i}
}

func (i *Import) attrs(a *route.Attrs) Reason {
	p := &i.params
	if a.Path.Contains(p.OwnAS) {
		return OwnAS
	}
	first, ok := a.Path.First()
	switch {
	case len(a.Path) == 0:
		return EmptyPath
	case !ok || first != p.NeighborAS:
		return FirstAS
	case !p.AnyNextHop && !i.neighbor(a.NextHop) && !i.neighbor(a.LinkLocal):
		return NextHop
	case i.leak(a):
		return Leak
	}
	return Accepted
}

func (i *Import) neighbor(hop netip.Addr) bool {
	for _, n := range i.params.Neighbors {
		if n.WithZone("") == hop {
			return true
		}
	}
	return false
}

// leak is the ingress procedure of RFC 9234, section 5. Since the site sends nothing on that it learned, the egress
// procedure and the adding of the attribute have no place here.
func (i *Import) leak(a *route.Attrs) bool {
	if a.OTC == 0 {
		return false
	}
	switch i.params.Role {
	case RoleCustomer:
		return true
	case RolePeer:
		return a.OTC != i.params.NeighborAS
	}
	return false
}

// Prefix gives the reason for one prefix.
func (v Verdict) Prefix(p netip.Prefix) Reason {
	if v.reject != Accepted {
		return v.reject
	}
	i := v.imp
	suspect := i.suspect[familyIndex(p)][firstByte(p)]
	switch {
	case !suspect:
	case p.Bits() > 0 && i.martian.LookupPrefix(p):
		return Martian
	case p.Bits() > 0 && i.own.LookupPrefix(p):
		return OwnPrefix
	case i.params.Circuit && i.private.LookupPrefix(p):
		return CircuitPrivate
	}
	switch {
	case i.params.Circuit && p.Bits() == 0:
		return CircuitDefault
	case !v.accepted && !i.params.Accept.prefix(p):
		return NotAccepted
	}
	return Accepted
}
