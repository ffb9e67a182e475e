package fib

import (
	"bothways/internal/kstate"
	"bothways/internal/rib"
	"bothways/internal/route"
)

type withoutKey struct {
	rank rib.RankingID
	link route.Link
}

// links keeps the tables of links: each holds the minimal cover of what its link can reach, which is the prefixes that
// the link has a route for and no route for anything that covers them; and, behind each, where its ranking goes without the
// link. When the link loses its carrier, what follows its mark goes on by that at once, and does not wait until the kernel has
// come to the groups of our own table, which may be many and each a walk over all routes. Where a steer rule covers the
// prefix, our own table knows better.
func (f *FIB) links(c rib.Change, emit func(kstate.RouteChange)) {
	if coversItself(c.Old) && coversItself(c.New) {
		return
	}
	rs := f.table.Rankings()
	before := rs.Links(c.Old.Own).Minus(rs.Links(c.Old.Cover))
	after := rs.Links(c.New.Own).Minus(rs.Links(c.New.Cover))
	if before == after && c.Old.Ranking == c.New.Ranking {
		return
	}
	steered := f.rule(&f.views[0], c.Prefix) >= 0
	for _, l := range before.Union(after).Links() {
		var old, now [2]rib.RankingID
		if before.Has(l) {
			old = f.ways(l, c.Old.Ranking, steered)
		}
		if after.Has(l) {
			now = f.ways(l, c.New.Ranking, steered)
		}
		switch {
		case old[0] == 0:
			f.reach[l]++
		case now[0] == 0:
			f.reach[l]--
		}
		for i, metric := range [...]uint32{kstate.MetricRanking, kstate.MetricTier} {
			f.linkRoute(kstate.RouteKey{Table: kstate.Table + uint32(l), Prefix: c.Prefix, Metric: metric}, old[i], now[i], emit)
		}
	}
}

// Reach are the links that reach anything: those whose tables have a route by them, or had one at the last Small. In the middle
// of a batch a link may be without the old and not have the new yet. Connections stick to no other.
func (f *FIB) Reach() route.LinkSet { return f.reached.Union(f.reachNow()) }

func (f *FIB) reachNow() route.LinkSet {
	var s route.LinkSet
	for l, n := range f.reach {
		if n > 0 {
			s.Add(l)
		}
	}
	return s
}

// ways are the link alone, and what is left of a prefix's ranking without it; 0: nothing.
func (f *FIB) ways(l route.Link, rank rib.RankingID, steered bool) [2]rib.RankingID {
	if steered {
		return [2]rib.RankingID{f.only(l)}
	}
	return [2]rib.RankingID{f.only(l), f.without(rank, l)}
}

func (f *FIB) linkRoute(key kstate.RouteKey, old, now rib.RankingID, emit func(kstate.RouteChange)) {
	switch {
	case old == now:
		return
	case now != 0:
		emit(kstate.RouteChange{Route: kstate.Route{RouteKey: key, Type: kstate.Unicast, Nexthop: f.groups.hold(now)}})
		f.behind(key, now, 1)
	default:
		emit(kstate.RouteChange{Delete: true, Route: kstate.Route{RouteKey: key, Type: kstate.Unicast, Nexthop: f.groups.id(old)}})
	}
	if old != 0 {
		f.behind(key, old, -1)
		f.groups.release(old)
	}
}

func (f *FIB) behind(key kstate.RouteKey, rank rib.RankingID, n int) {
	if key.Metric == kstate.MetricTier {
		f.groups.get(rank).behind += n
	}
}

// coversItself reports that no link has a route for the prefix that has none for what covers it, where that takes no
// counting: nearly all prefixes of a full table with a default under it.
func coversItself(s rib.State) bool { return s.Own == 0 || s.Own == s.Cover || s.Ranking == s.Cover }

// only is the ranking of nothing but one link.
func (f *FIB) only(l route.Link) rib.RankingID {
	id, ok := f.single[l]
	if !ok {
		id = f.table.Rankings().Intern(rib.Ranking{Tiers: [][]route.Link{{l}}})
		f.single[l] = id
	}
	return id
}

// without is what a ranking is without a link; 0: nothing is left.
func (f *FIB) without(rank rib.RankingID, l route.Link) rib.RankingID {
	key := withoutKey{rank, l}
	id, ok := f.rest[key]
	if !ok {
		rs := f.table.Rankings()
		r := rs.Get(rank)
		left := rib.Ranking{Weights: r.Weights}
		for _, t := range r.Tiers {
			if t = keep(t, func(x route.Link) bool { return x != l }); len(t) > 0 {
				left.Tiers = append(left.Tiers, t)
			}
		}
		if len(left.Tiers) > 0 {
			id = rs.Intern(left)
		}
		f.rest[key] = id
	}
	return id
}

// barriers are in the tables of links, for what a rule drops rather than let it go by other links: what covers it there has a way
// without the link, which is not for it. Our own table has its ways, and their end.
func (f *FIB) barriers(put putRoute) {
	rs := f.table.Rankings()
	for p := range f.views[0].tiered {
		rule := f.rule(&f.views[0], p)
		if rule < 0 || !f.params.Steer[rule].Drop {
			continue
		}
		at, rank, _ := f.table.Lookup(p)
		covered := rs.Links(rank)
		if s := f.table.State(p); at == p {
			covered = rs.Links(s.Cover) // what only the prefix itself leads to has no cover there
		}
		for _, l := range rs.Links(f.steered(rule, rank)).Links() {
			if !covered.Has(l) {
				continue
			}
			put(kstate.Table+uint32(l), p, kstate.MetricTier, kstate.Unicast, 0, f.only(l))
			put(kstate.Table+uint32(l), p, kstate.MetricEnd, kstate.Throw, 0, 0)
		}
	}
}
