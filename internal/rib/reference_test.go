package rib

import (
	"net/netip"
	"slices"

	"bothways/internal/route"
)

// reference is the decision so simple that it is obviously right: a list of routes, searched from scratch.
type reference struct {
	links  [256]LinkParams
	routes map[refKey]*route.Attrs // nil: static
}

type refKey struct {
	prefix netip.Prefix
	link   route.Link
}

// lookup is longest match and the decision over the routes of living links: the links of the best tier, sorted.
func (m *reference) lookup(dst netip.Addr, dead route.LinkSet) []route.Link {
	best := -1
	for k := range m.routes {
		if k.prefix.Contains(dst) && !dead.Has(k.link) && k.prefix.Bits() > best {
			best = k.prefix.Bits()
		}
	}
	var cs []Candidate
	for k, a := range m.routes {
		if k.prefix.Contains(dst) && !dead.Has(k.link) && k.prefix.Bits() == best {
			c := Candidate{Link: k.link, Params: m.links[k.link], Attrs: a, Static: a == nil}
			if a == nil {
				c.Attrs = &route.Attrs{}
			}
			cs = append(cs, c)
		}
	}
	var links []route.Link
	for _, c := range cs {
		beaten := false
		for _, o := range cs {
			if d, step := Compare(&o, &c); d < 0 && step <= Tier {
				beaten = true
			}
		}
		if !beaten {
			links = append(links, c.Link)
		}
	}
	slices.Sort(links)
	return links
}
