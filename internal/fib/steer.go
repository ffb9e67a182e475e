package fib

import (
	"net/netip"

	"bothways/internal/rib"
	"bothways/internal/route"
)

// Steer sets the ranking of what lies in To.
type Steer struct {
	Name string
	To   []netip.Prefix
	// Own: the rule looks at more than the destination, so its routes are in a table of its own, which a mark selects.
	Own bool
	// All: it is for every destination.
	All bool
	// Use are the tiers: each is a list of paths, each path the set of its links.
	Use [][]route.LinkSet
	// Weights are, beside Use, the share of each path in its tier; nil: equally.
	Weights [][]int
	// Drop: without a living link traffic is dropped. Otherwise what is not named follows behind in its own order.
	Drop bool
}

// Apply returns the ranking that the rule makes of what BGP says for a destination. Links of one path keep their own
// order; paths that share a tier put their first tiers together, then their second ones. A link takes part only where
// the ranking has it: where it has a route that covers the destination.
func (s *Steer) Apply(r rib.Ranking) rib.Ranking {
	out := rib.Ranking{Drop: s.Drop}
	var named route.LinkSet
	for i, paths := range s.Use {
		for _, t := range together(r, paths) {
			s.share(&out, i, t)
			out.Tiers = append(out.Tiers, t)
			for _, l := range t {
				named.Add(l)
			}
		}
	}
	if s.Drop {
		return out
	}
	for _, t := range r.Tiers {
		if rest := keep(t, func(l route.Link) bool { return !named.Has(l) }); len(rest) > 0 {
			out.Tiers = append(out.Tiers, rest)
		}
	}
	return out
}

// share gives the links of a tier their part of their path's weight. A path's links share it equally.
func (s *Steer) share(r *rib.Ranking, i int, tier []route.Link) {
	if len(s.Weights) == 0 || len(s.Weights[i]) == 0 {
		return
	}
	links := func(path route.LinkSet) int { return len(keep(tier, path.Has)) }
	common := 1
	for _, path := range s.Use[i] {
		if n := links(path); n > 0 {
			common = common / gcd(common, n) * n
		}
	}
	for j, path := range s.Use[i] {
		for _, l := range keep(tier, path.Has) {
			if r.Weights == nil {
				r.Weights = map[route.Link]uint8{}
			}
			r.Weights[l] = uint8(min(s.Weights[i][j]*common/links(path), 255))
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func together(r rib.Ranking, paths []route.LinkSet) [][]route.Link {
	var out [][]route.Link
	for _, links := range paths {
		i := 0
		for _, t := range r.Tiers {
			mine := keep(t, links.Has)
			if len(mine) == 0 {
				continue
			}
			if i == len(out) {
				out = append(out, nil)
			}
			out[i] = append(out[i], mine...)
			i++
		}
	}
	return out
}

func keep(links []route.Link, want func(route.Link) bool) []route.Link {
	var out []route.Link
	for _, l := range links {
		if want(l) {
			out = append(out, l)
		}
	}
	return out
}
