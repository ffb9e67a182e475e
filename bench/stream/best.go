package stream

import "net/netip"

// Offer is a table with what decides beside its paths: Preferred goes before path length (the circuit's local
// preference), and Order decides last.
type Offer struct {
	Table     Table
	Preferred bool
}

// Best says, for every prefix, which of the offers a router uses: preferred before others, then the shorter path, then
// the earlier offer. It is as simple as can be, so that it is a judge of all routers.
func Best(offers []Offer) map[netip.Prefix]int {
	type choice struct {
		offer, length int
	}
	best := map[netip.Prefix]choice{}
	for i, o := range offers {
		for _, s := range o.Table {
			length := len(s.Path)
			if len(s.PathSet) > 0 {
				length++ // RFC 4271, section 9.1.2.2 a: a set counts as one
			}
			for _, p := range s.Prefixes {
				have, ok := best[p]
				if ok && (offers[have.offer].Preferred && !o.Preferred ||
					offers[have.offer].Preferred == o.Preferred && have.length <= length) {
					continue
				}
				best[p] = choice{i, length}
			}
		}
	}
	out := make(map[netip.Prefix]int, len(best))
	for p, c := range best {
		out[p] = c.offer
	}
	return out
}
