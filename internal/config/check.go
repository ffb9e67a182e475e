package config

import (
	"net/netip"
	"slices"

	"bothways/internal/kstate"
	"bothways/internal/nat"
	"bothways/internal/policy"
	"bothways/internal/route"
)

// check finds what is well-formed and still cannot be meant.
func (c *Config) check(r *reader) {
	c.checkInside(r)
	c.checkLinks(r)
	for i := range c.Paths {
		c.checkPath(r, &c.Paths[i])
	}
	c.checkSteer(r)
}

func (c *Config) hasBGP() bool {
	return slices.ContainsFunc(c.Paths, Path.HasBGP)
}

// HasBGP reports whether any link of the path speaks BGP.
func (p Path) HasBGP() bool {
	return slices.ContainsFunc(p.Links, func(l Link) bool { return l.BGP })
}

// Has reports whether any link of the path carries the family.
func (p Path) Has(f route.Family) bool {
	return slices.ContainsFunc(p.Links, func(l Link) bool { return l.Has(f) })
}

// Has reports whether the link carries the family. An automatic link may carry both.
func (l Link) Has(f route.Family) bool { return l.Auto || l.AutoGateway || l.Neighbor(f).IsValid() }

func (c *Config) checkLinks(r *reader) {
	if c.hasBGP() {
		if c.ASN == 0 {
			r.fail(1, "", "want the key \"asn\" since links speak BGP, found none")
		}
		if !c.RouterID.IsValid() {
			r.fail(1, "", "want the key \"router-id\" since links speak BGP, found none")
		}
	}
	users := map[string]string{}
	for _, i := range c.Inside.Interfaces {
		users[i] = "the inside"
	}
	n := 0
	for _, p := range c.Paths {
		for _, l := range p.Links {
			n++
			key := "paths." + p.Name + ".links." + l.Name
			if l.Interface == "" {
				r.fail(l.line, key, "want the key \"interface\", found none")
				continue
			}
			if who, ok := users[l.Interface]; ok {
				r.fail(l.line, key, "interface %s is already that of %s: a link is known by its interface", l.Interface, who)
			}
			users[l.Interface] = l.FullName()
			c.checkLink(r, l, key)
		}
	}
	if n > kstate.MaxLinks {
		r.fail(1, "paths", "want at most %d links, since one byte of the mark numbers them, found %d", kstate.MaxLinks, n)
	}
}

func (c *Config) checkLink(r *reader, l Link, key string) {
	for _, o := range c.links() {
		for _, f := range route.Families() {
			if o.Interface < l.Interface && l.BGP && o.BGP && l.Neighbor(f).IsValid() && l.Neighbor(f) == o.Neighbor(f) && !l.Neighbor(f).IsLinkLocalUnicast() {
				r.fail(l.line, key, "neighbor %s is already that of %s", l.Neighbor(f), o.FullName())
			}
		}
	}
	for _, f := range route.Families() {
		own, far := l.Address(f), l.Neighbor(f)
		name := map[route.Family]string{route.IPv4: "address", route.IPv6: "address6"}[f]
		switch {
		case !far.IsValid():
			if own.IsValid() && !l.AutoGateway {
				r.fail(l.line, key, "%s %s has no neighbor or gateway beside it", name, own)
			}
		case !own.IsValid() && !l.Auto:
			r.fail(l.line, key, "neighbor %s has no %s beside it", far, name)
		case own.IsValid() && own.Addr() == far:
			r.fail(l.line, key, "neighbor %s is the link's own address", far)
		case own.IsValid() && !own.Contains(far) && !far.IsLinkLocalUnicast():
			r.fail(l.line, key, "neighbor %s is not in the link's subnet %s", far, own.Masked())
		}
	}
	if !l.Has(route.IPv4) && !l.Has(route.IPv6) {
		r.fail(l.line, key, "want a neighbor or a gateway, found none")
	}
	switch {
	case !l.BGP:
	case l.ASN == 0:
		r.fail(l.line, key, "want the key \"asn\" since the link speaks BGP and its provider leaves it open, found none")
	case l.ASN == c.ASN:
		r.fail(l.line, key, "asn %d is the site's own: only external BGP is spoken", l.ASN)
	}
}

func (c *Config) checkPath(r *reader, p *Path) {
	key := "paths." + p.Name
	if len(p.Links) == 0 {
		r.fail(p.line, key, "want at least one link, found none")
	}
	if !p.HasBGP() {
		for _, x := range []struct {
			key   string
			found bool
		}{
			{"announce", len(p.Announce) > 0}, {"prepend", p.Prepend > 0},
			{"accept", len(p.Accept.Communities)+len(p.Accept.Prefixes) > 0},
		} {
			if x.found {
				r.fail(p.line, key, "%s: is for paths with BGP, and no link of this one has a neighbor", x.key)
			}
		}
	}
	if p.HasBGP() && p.Accept.Empty() {
		r.fail(p.line, key, "want the key \"accept\": without it nothing is learned here (RFC 8212)")
	}
	for _, a := range p.Announce {
		if a.Bits() == 0 {
			r.fail(p.line, key+".announce", "%s: the site is no transit", a)
		}
		if !p.Has(route.FamilyOf(a.Addr())) {
			r.fail(p.line, key+".announce", "%s has no %s neighbor to be announced to", a, route.FamilyOf(a.Addr()))
		}
	}
	c.checkNAT(r, p, key+".nat")
	c.checkPublish(r, p)
}

func (c *Config) checkNAT(r *reader, p *Path, key string) {
	for _, e := range p.NAT {
		v6 := e.Network.Addr().Is6()
		switch {
		case !slices.Contains(c.Inside.Networks, e.Network):
			r.fail(p.line, key, "%s is not one of inside.networks", e.Network)
		case v6 && e.Kind == nat.Interface:
			r.fail(p.line, key, "%s: want a prefix or none for IPv6, found interface", e.Network)
		case e.To.IsValid() && e.To.Addr().Is6() != v6:
			r.fail(p.line, key, "%s: want a pool of the same family, found %s", e.Network, e.To)
		case e.Kind == nat.Prefix && e.To.Bits() != e.Network.Bits():
			r.fail(p.line, key, "%s: want a prefix of the same length, found %s", e.Network, e.To)
		}
		for _, n := range c.Inside.Networks {
			if e.To.IsValid() && e.To.Overlaps(n) {
				r.fail(p.line, key, "pool %s overlaps the inside network %s", e.To, n)
			}
		}
	}
	for _, n := range c.Inside.Networks {
		if !policy.Private(n) || !p.Has(route.FamilyOf(n.Addr())) {
			continue
		}
		if !slices.ContainsFunc(p.NAT, func(e nat.Entry) bool { return e.Network == n }) {
			r.fail(p.line, key, "the private inside network %s has no entry (none says that it is meant)", n)
		}
	}
	slices.SortStableFunc(p.NAT, func(a, b nat.Entry) int { return b.Network.Bits() - a.Network.Bits() })
}

func (c *Config) checkInside(r *reader) {
	for _, n := range c.Inside.Networks {
		if n.Bits() == 0 {
			r.fail(1, "inside.networks", "%s is everything", n)
		}
	}
	if len(c.Inside.Interfaces) == 0 {
		r.fail(1, "inside", "want the key \"interfaces\" with at least one interface, found none")
	}
	for _, in := range c.Inside.Routes {
		if !slices.ContainsFunc(c.Inside.Networks, func(n netip.Prefix) bool { return route.Contains(n, in.Network) }) {
			r.fail(1, "inside.routes", "%s lies in none of inside.networks", in.Network)
		}
	}
}

func (c *Config) pathNames() []string {
	var out []string
	for _, p := range c.Paths {
		out = append(out, p.Name)
	}
	return out
}

// Own lists what no neighbor may send: inside networks, pools, announced prefixes and subnets of links.
func (c *Config) Own() []netip.Prefix {
	own := slices.Clone(c.Inside.Networks)
	for _, p := range c.Paths {
		own = append(own, p.Announce...)
		for _, e := range p.NAT {
			if e.To.IsValid() {
				own = append(own, e.To)
			}
		}
		for _, l := range p.Links {
			for _, a := range []netip.Prefix{l.Address4, l.Address6} {
				if a.IsValid() {
					own = append(own, a.Masked())
				}
			}
		}
	}
	slices.SortFunc(own, route.ComparePrefix)
	return slices.Compact(own)
}
