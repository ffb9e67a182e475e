package fib

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"bothways/internal/kstate"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// Params are what the configuration says of one family.
type Params struct {
	// Compress leaves out prefixes that do not change the choice.
	Compress bool
	Steer    []Steer
	// Blackholes are pools and announced prefixes: what nobody asked for must not circle between the site and an ISP.
	Blackholes []netip.Prefix
	// Inside are networks behind routers of the site's own, with the nexthop that leads there.
	Inside []InsideRoute
	// Replies are links that may be asked by hosts which they have no route to. What answers them has a table with nothing
	// but a default by the link: the request came that way, so that is where a reply finds its way.
	Replies []route.Link
}

// InsideRoute leads to a network behind a router inside.
type InsideRoute struct {
	Network netip.Prefix
	Nexthop kstate.NexthopID
}

// FIB computes the routes of one family from the changes of its table. It has one owner. What it keeps is small: the
// counts of groups in use, and the few routes that depend on more than their own prefix.
type FIB struct {
	family route.Family
	params Params
	views  []view       // ours first
	to     []*bart.Lite // by rule: what it covers
	table  *rib.Table
	groups groups
	steer  map[steerKey]rib.RankingID
	single map[route.Link]rib.RankingID
	rest   map[withoutKey]rib.RankingID
	small  map[kstate.RouteKey]smallRoute
	reach  map[route.Link]int // routes by the link in its own table
	state  State              // of the last Small
	fresh  bool               // nothing has changed since

	reached route.LinkSet // reach as of the last Small
}

type steerKey struct {
	rule int
	rank rib.RankingID
}

type smallRoute struct {
	route kstate.Route
	rank  rib.RankingID // held; 0: none
}

// view is a table with the steer rules that shape it: ours with all rules for destinations alone, and one for each rule
// that looks at more. In those only what the rule covers has a place; a lookup of anything else goes on to our table.
type view struct {
	table  uint32
	rules  []int
	strict bool
	tiered map[netip.Prefix]bool
}

// New returns the computation over a table. Its first Small must follow.
func New(f route.Family, p Params, t *rib.Table) *FIB {
	return &FIB{
		family: f, params: p, views: views(f, p.Steer), to: destinations(f, p.Steer), table: t, groups: newGroups(f, t.Rankings()),
		steer: map[steerKey]rib.RankingID{}, single: map[route.Link]rib.RankingID{}, rest: map[withoutKey]rib.RankingID{},
		small: map[kstate.RouteKey]smallRoute{}, reach: map[route.Link]int{},
	}
}

// isTiered reports whether a prefix is installed once per tier. Most tables have no such prefix but the default.
func (v *view) isTiered(p netip.Prefix) bool {
	return (p.Bits() == 0 || v.strict || len(v.tiered) > 1) && v.tiered[p]
}

func views(f route.Family, steer []Steer) []view {
	main := view{table: kstate.Table, tiered: map[netip.Prefix]bool{f.Default(): true}}
	all := []view{main}
	own := uint32(0)
	for i, s := range steer {
		to := inFamily(s.To, f)
		if !s.Own {
			all[0].rules = append(all[0].rules, i)
			for _, p := range to {
				all[0].tiered[p] = true
			}
			continue
		}
		v := view{table: kstate.SteerTable + own, rules: []int{i}, strict: true, tiered: map[netip.Prefix]bool{}}
		own++
		if s.All {
			to = []netip.Prefix{f.Default()}
		}
		for _, p := range to {
			v.tiered[p] = true
		}
		all = append(all, v)
	}
	return all
}

// destinations are what each rule covers in a family.
func destinations(f route.Family, steer []Steer) []*bart.Lite {
	out := make([]*bart.Lite, len(steer))
	for i, s := range steer {
		out[i] = new(bart.Lite)
		for _, p := range inFamily(s.To, f) {
			out[i].Insert(p)
		}
		if s.Own && s.All {
			out[i].Insert(f.Default())
		}
	}
	return out
}

func inFamily(list []netip.Prefix, f route.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if route.FamilyOf(p.Addr()) == f {
			out = append(out, p)
		}
	}
	return out
}

// rule is the index of the steer rule of a view that covers a prefix, or -1: the first in the order of the file.
func (f *FIB) rule(v *view, p netip.Prefix) int {
	for _, i := range v.rules {
		if f.to[i].LookupPrefix(p) {
			return i
		}
	}
	return -1
}

func (f *FIB) steered(rule int, rank rib.RankingID) rib.RankingID {
	if rule < 0 {
		return rank
	}
	key := steerKey{rule, rank}
	id, ok := f.steer[key]
	if !ok {
		rs := f.table.Rankings()
		id = rs.Intern(f.params.Steer[rule].Apply(rs.Get(rank)))
		f.steer[key] = id
	}
	return id
}

// installed is a prefix in a view.
type installed struct {
	rank    rib.RankingID // 0: it is left out
	follows bool          // what covers it has the same
}

// installed gives what a prefix with this state has in a view.
//
// A rule that covers a prefix covers what lies between it and its cover too, and a steered prefix is in the table
// itself. So comparing under the prefix's own rule is comparing with what a lookup would find without it.
func (f *FIB) installed(v *view, p netip.Prefix, s rib.State) installed {
	if s.Own == 0 || v.isTiered(p) {
		return installed{}
	}
	rule := f.rule(v, p)
	if v.strict && rule < 0 {
		return installed{}
	}
	rank := f.steered(rule, s.Ranking)
	follows := rank == f.steered(rule, s.Cover)
	if rank == 0 || follows && (v.strict || f.params.Compress || f.family == route.IPv6) {
		return installed{}
	}
	return installed{rank, follows}
}

// Change translates a change of the table.
func (f *FIB) Change(c rib.Change, emit func(kstate.RouteChange)) {
	f.fresh = false
	for i := range f.views {
		f.change(&f.views[i], c, emit)
	}
	f.links(c, emit)
}

func (f *FIB) change(v *view, c rib.Change, emit func(kstate.RouteChange)) {
	was, is := f.installed(v, c.Prefix, c.Old), f.installed(v, c.Prefix, c.New)
	if was == is {
		return
	}
	key := kstate.RouteKey{Table: v.table, Prefix: c.Prefix, Metric: kstate.MetricRanking}
	if is.rank != 0 {
		emit(kstate.RouteChange{Follows: is.follows, Route: kstate.Route{RouteKey: key, Type: kstate.Unicast, Nexthop: f.groups.hold(is.rank)}})
	} else {
		emit(kstate.RouteChange{Delete: true, Route: kstate.Route{RouteKey: key, Type: kstate.Unicast, Nexthop: f.groups.id(was.rank)}})
	}
	if was.rank != 0 {
		f.groups.release(was.rank)
	}
}

// Small computes the routes that are few and depend on the links' state, and emits what differs from the last time: the
// tiers of the default and of steered prefixes, blackholes, networks inside. It is called after each batch of changes
// and after each change of State.
func (f *FIB) Small(s State, emit func(kstate.RouteChange)) {
	if f.fresh && s == f.state {
		return
	}
	f.fresh, f.state, f.reached = true, s, f.reachNow()
	want := map[kstate.RouteKey]smallRoute{}
	put := func(table uint32, p netip.Prefix, metric uint32, t kstate.RouteType, nh kstate.NexthopID, rank rib.RankingID) {
		key := kstate.RouteKey{Table: table, Prefix: p, Metric: metric}
		if rank != 0 {
			nh = f.groups.hold(rank)
		}
		want[key] = smallRoute{kstate.Route{RouteKey: key, Type: t, Nexthop: nh}, rank}
	}
	for i := range f.views {
		v := &f.views[i]
		for p := range v.tiered {
			f.tiers(v, p, s, put)
		}
	}
	f.barriers(put)
	for _, l := range f.params.Replies {
		if s.Present.Has(l) {
			put(kstate.ReplyTable+uint32(l), f.family.Default(), kstate.MetricRanking, kstate.Unicast, 0, f.only(l))
		}
	}
	for _, p := range f.params.Blackholes {
		put(kstate.Table, p, kstate.MetricBlackhole, kstate.Blackhole, 0, 0)
	}
	for _, in := range f.params.Inside {
		put(kstate.Table, in.Network, kstate.MetricRanking, kstate.Unicast, in.Nexthop, 0)
	}
	for _, key := range sortedKeys(want) {
		if have, ok := f.small[key]; !ok || have.route != want[key].route {
			emit(kstate.RouteChange{Route: want[key].route})
		}
	}
	for _, key := range sortedKeys(f.small) {
		if _, ok := want[key]; !ok {
			emit(kstate.RouteChange{Delete: true, Route: f.small[key].route})
		}
	}
	for _, old := range f.small {
		if old.rank != 0 {
			f.groups.release(old.rank)
		}
	}
	f.small = want
}

type putRoute func(table uint32, p netip.Prefix, metric uint32, t kstate.RouteType, nh kstate.NexthopID, rank rib.RankingID)

func (f *FIB) tiers(v *view, p netip.Prefix, s State, put putRoute) {
	rs := f.table.Rankings()
	_, rank, _ := f.table.Lookup(p)
	rank = f.steered(f.rule(v, p), rank)
	r := rs.Get(rank)
	now := f.groups.members(rank, s)
	if len(now) > 0 {
		put(v.table, p, kstate.MetricRanking, kstate.Unicast, 0, rank)
	}
	for i, tier := range fallbacks(r, s) {
		if slices.Equal(tier, now) {
			// The ranking's own group has the same links, and dies with them. The kernel takes the dead groups of a lost
			// device one after the other, and walks its whole table for each: until a copy's turn comes, lookups that the
			// other gave up would find it, and end at the dead device.
			continue
		}
		put(v.table, p, kstate.MetricTier+uint32(i), kstate.Unicast, 0, rs.Intern(rib.Ranking{Tiers: [][]route.Link{tier}, Weights: r.Weights}))
	}
	if r.Drop {
		put(v.table, p, kstate.MetricEnd, kstate.Blackhole, 0, 0)
	}
}

// fallbacks are the tiers in the order in which Resolve would take them, less the dead links and those that the kernel
// cannot hold.
func fallbacks(r rib.Ranking, s State) [][]route.Link {
	var living, drained [][]route.Link
	for _, t := range r.Tiers {
		usable := func(l route.Link) bool { return s.Present.Has(l) && !s.Dead.Has(l) }
		if links := keep(t, func(l route.Link) bool { return usable(l) && !s.Drained.Has(l) }); len(links) > 0 {
			living = append(living, links)
		}
		if links := keep(t, func(l route.Link) bool { return usable(l) && s.Drained.Has(l) }); len(links) > 0 {
			drained = append(drained, links)
		}
	}
	return append(living, drained...)
}

func sortedKeys(m map[kstate.RouteKey]smallRoute) []kstate.RouteKey {
	keys := make([]kstate.RouteKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b kstate.RouteKey) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), route.ComparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
	return keys
}

// Groups are the nexthop groups in use, sorted by id.
func (f *FIB) Groups(s State) []kstate.Nexthop {
	out := f.groups.objects(s)
	slices.SortFunc(out, func(a, b kstate.Nexthop) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// First are the groups that should be the first to go when a device loses its carrier: those of single links, which the
// links' own tables lead to, since connections that stay look there first; then the one with most routes, whose deletion takes
// longer than all others. IPv6 has no such order: the kernel takes its routes out one by one, and does not walk.
func (f *FIB) First() []kstate.NexthopID {
	if f.family == route.IPv6 {
		return nil
	}
	var out []kstate.NexthopID
	for _, rank := range f.single {
		if g := f.groups.byRank[rank]; g != nil {
			out = append(out, g.id)
		}
	}
	slices.Sort(out)
	for _, u := range f.InUse() {
		if !slices.Contains(out, u.ID) {
			return append(out, u.ID)
		}
	}
	return out
}

// Answer is what the table says of one destination.
type Answer struct {
	Prefix  netip.Prefix // the longest match in the table
	Steer   string       // name of the rule that applies; empty: none
	Ranking rib.Ranking
	Now     rib.Resolution
}

// Lookup answers for a destination, a host or a prefix, by the functions that fill the kernel.
func (f *FIB) Lookup(dst netip.Prefix, s State) Answer {
	return f.answer(f.rule(&f.views[0], dst), dst, s)
}

// LookupSteered answers for a destination of traffic that a rule with a table of its own matches, by the rule's index.
// Where the rule does not cover the destination, it is as if there were no such rule.
func (f *FIB) LookupSteered(rule int, dst netip.Prefix, s State) Answer {
	for i := range f.views {
		if v := &f.views[i]; v.strict && v.rules[0] == rule && f.rule(v, dst) >= 0 {
			return f.answer(rule, dst, s)
		}
	}
	return f.Lookup(dst, s)
}

func (f *FIB) answer(rule int, dst netip.Prefix, s State) Answer {
	p, rank, ok := f.table.Lookup(dst)
	r := f.table.Rankings().Get(f.steered(rule, rank))
	a := Answer{Ranking: r, Now: rib.Resolve(r, s.Dead, s.Drained)}
	if ok {
		a.Prefix = p
	}
	if rule >= 0 {
		a.Steer = f.params.Steer[rule].Name
	}
	return a
}

// InUse describes the rankings that routes point at, but for those that are only behind others in the tables of links.
func (f *FIB) InUse() []RankingUse {
	var out []RankingUse
	for r, g := range f.groups.byRank {
		if n := g.refs - g.behind; n > 0 {
			out = append(out, RankingUse{ID: g.id, Ranking: f.table.Rankings().Get(r), Routes: n})
		}
	}
	slices.SortFunc(out, func(a, b RankingUse) int { return cmp.Or(b.Routes-a.Routes, cmp.Compare(a.ID, b.ID)) })
	return out
}

// RankingUse is a ranking with the number of routes that point at its group.
type RankingUse struct {
	ID      kstate.NexthopID
	Ranking rib.Ranking
	Routes  int
}

// SetInside replaces the networks behind routers inside; the next Small emits the difference.
func (f *FIB) SetInside(routes []InsideRoute) { f.params.Inside, f.fresh = routes, false }
