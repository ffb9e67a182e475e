package fib

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bothways/internal/kstate"
	"bothways/internal/policy"
	"bothways/internal/rib"
	"bothways/internal/route"
)

// site is a table with the circuit's links 1 and 2, isp-a as 3 and isp-b as 4, and what the kernel would hold.
type site struct {
	t     *testing.T
	table *rib.Table
	fib   *FIB
	have  map[kstate.RouteKey]kstate.Route
	// follows are those of have that follow what covers them.
	follows map[kstate.RouteKey]bool
	state   State
}

const (
	primary   = route.Link(1)
	secondary = route.Link(2)
	ispA      = route.Link(3)
	ispB      = route.Link(4)
)

func newSite(t *testing.T, p Params) *site {
	s := &site{t: t, table: rib.NewTable(route.IPv4), have: map[kstate.RouteKey]kstate.Route{}, follows: map[kstate.RouteKey]bool{}}
	s.table.SetLink(primary, rib.LinkParams{Path: 0, Order: 0, Preference: 150})
	s.table.SetLink(secondary, rib.LinkParams{Path: 0, Order: 1, Preference: 150})
	s.table.SetLink(ispA, rib.LinkParams{Path: 1, Preference: 100})
	s.table.SetLink(ispB, rib.LinkParams{Path: 2, Preference: 100, Static: 50})
	s.fib = New(route.IPv4, p, s.table)
	s.state.Present = route.NewLinkSet(primary, secondary, ispA, ispB)
	return s
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func (s *site) announce(l route.Link, path int, list ...string) {
	imp := policy.NewImport(policy.Params{Accept: policy.Accept{All: true}, NeighborAS: 1, AnyNextHop: true})
	asns := make([]uint32, path)
	for i := range asns {
		asns[i] = uint32(1 + i)
	}
	s.table.Apply(l, imp, route.Update{Family: route.IPv4, Announced: prefixes(list...), Attrs: &route.Attrs{Path: route.SequencePath(asns...)}}, 0)
}

func (s *site) withdraw(l route.Link, list ...string) {
	s.table.Apply(l, nil, route.Update{Family: route.IPv4, Withdrawn: prefixes(list...)}, 0)
}

// settle does what the engine does after a batch, and returns what changed.
func (s *site) settle() []string {
	var changes []string
	emit := func(c kstate.RouteChange) {
		old, had := s.have[c.Route.RouteKey]
		switch {
		case c.Delete && !had:
			s.t.Errorf("deletes what is not there: %s", c.Route)
		case !c.Delete && had && old == c.Route && s.follows[c.Route.RouteKey] == c.Follows:
			s.t.Errorf("puts what is there: %s", c.Route)
		}
		s.follows[c.Route.RouteKey] = c.Follows
		if c.Delete {
			delete(s.have, c.Route.RouteKey)
			changes = append(changes, "- "+s.print(c.Route))
		} else {
			s.have[c.Route.RouteKey] = c.Route
			changes = append(changes, "+ "+s.print(c.Route))
		}
	}
	s.table.Commit(func(c rib.Change) { s.fib.Change(c, emit) })
	s.fib.Small(s.state, emit)
	slices.Sort(changes)
	return changes
}

// print writes a route with its ranking in the place of the group's id.
func (s *site) print(r kstate.Route) string {
	text := fmt.Sprintf("%s table %d metric %d", r.Prefix, r.Table, r.Metric)
	if r.Type != kstate.Unicast {
		return text + " " + r.Type.String()
	}
	for rank, g := range s.fib.groups.byRank {
		if g.id == r.Nexthop {
			return text + fmt.Sprintf(" via %v", s.table.Rankings().Get(rank).Tiers)
		}
	}
	return text + fmt.Sprintf(" via unknown group %d", r.Nexthop)
}

func (s *site) main() []string { return s.link(0) }

// link is the table of a link; 0: ours.
func (s *site) link(l route.Link) []string {
	var out []string
	for _, r := range s.have {
		if r.Table == kstate.Table+uint32(l) {
			out = append(out, s.print(r))
		}
	}
	slices.Sort(out)
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestMainTable(t *testing.T) {
	s := newSite(t, Params{Compress: true, Blackholes: prefixes("198.51.100.64/28")})
	s.announce(ispA, 1, "0.0.0.0/0", "9.0.0.0/8")
	s.table.SetStatic(ispB, true)
	s.announce(primary, 1, "4.0.0.0/8", "4.1.0.0/16")
	s.announce(secondary, 1, "4.0.0.0/8")
	s.settle()
	expect(t, "start", s.main(),
		"0.0.0.0/0 table 9800 metric 100 via [[3] [4]]",
		"0.0.0.0/0 table 9800 metric 102 via [[4]]",
		"198.51.100.64/28 table 9800 metric 4294967294 blackhole",
		"4.0.0.0/8 table 9800 metric 100 via [[1 2] [3] [4]]",
		"4.1.0.0/16 table 9800 metric 100 via [[1] [2] [3] [4]]",
		// 9.0.0.0/8 has the default's ranking and is left out.
	)
	s.withdraw(ispA, "0.0.0.0/0")
	got := s.settle()
	for _, line := range got {
		if strings.Contains(line, "table 9803 ") {
			got = slices.DeleteFunc(got, func(l string) bool { return l == line })
		}
	}
	expect(t, "isp-a withdraws its default", s.main(),
		"0.0.0.0/0 table 9800 metric 100 via [[4]]",
		"198.51.100.64/28 table 9800 metric 4294967294 blackhole",
		"4.0.0.0/8 table 9800 metric 100 via [[1 2] [4]]",
		"4.1.0.0/16 table 9800 metric 100 via [[1] [2] [4]]",
		"9.0.0.0/8 table 9800 metric 100 via [[3] [4]]",
	)
	expect(t, "nothing new", s.settle())
}

// TestFirst has the groups of single links go before the one with most routes, and no other in an order.
func TestFirst(t *testing.T) {
	s := newSite(t, Params{})
	s.announce(ispA, 1, "0.0.0.0/0", "9.0.0.0/8", "11.0.0.0/8")
	s.table.SetStatic(ispB, true)
	s.announce(primary, 1, "4.0.0.0/8")
	s.settle()
	uses := map[kstate.NexthopID]RankingUse{}
	for _, u := range s.fib.InUse() {
		uses[u.ID] = u
	}
	var got []string
	for i, id := range s.fib.First() {
		text := fmt.Sprint(uses[id].Ranking.Tiers)
		if i < 3 && len(uses[id].Ranking.Tiers) == 1 {
			text = "single"
		}
		got = append(got, text)
	}
	expect(t, "order", got, "single", "single", "single", "[[3] [4]]")
}

func TestTablesOfLinks(t *testing.T) {
	s := newSite(t, Params{Compress: true})
	s.announce(ispA, 1, "0.0.0.0/0", "9.0.0.0/8")
	s.announce(primary, 1, "4.0.0.0/8", "4.1.0.0/16", "5.1.0.0/16")
	s.settle()
	expect(t, "isp-a reaches everything by its default", s.link(ispA), "0.0.0.0/0 table 9803 metric 100 via [[3]]")
	expect(t, "the circuit's minimal cover, and where that goes without it", s.link(primary),
		"4.0.0.0/8 table 9801 metric 100 via [[1]]", "4.0.0.0/8 table 9801 metric 101 via [[3]]",
		"5.1.0.0/16 table 9801 metric 100 via [[1]]", "5.1.0.0/16 table 9801 metric 101 via [[3]]")
	s.withdraw(primary, "4.0.0.0/8")
	s.announce(secondary, 1, "5.1.0.0/16")
	s.table.SetStatic(ispB, true)
	s.settle()
	expect(t, "without the cover, with another link", s.link(primary),
		"4.1.0.0/16 table 9801 metric 100 via [[1]]", "4.1.0.0/16 table 9801 metric 101 via [[3] [4]]",
		"5.1.0.0/16 table 9801 metric 100 via [[1]]", "5.1.0.0/16 table 9801 metric 101 via [[2] [3] [4]]")
	expect(t, "isp-a has somebody behind it", s.link(ispA), "0.0.0.0/0 table 9803 metric 100 via [[3]]", "0.0.0.0/0 table 9803 metric 101 via [[4]]")
	s.withdraw(primary, "4.1.0.0/16", "5.1.0.0/16")
	s.withdraw(ispA, "0.0.0.0/0")
	s.settle()
	expect(t, "nothing is left", s.link(primary))
	expect(t, "isp-a without a default", s.link(ispA), "9.0.0.0/8 table 9803 metric 100 via [[3]]", "9.0.0.0/8 table 9803 metric 101 via [[4]]")
	for r := range s.fib.groups.byRank {
		if r := s.table.Rankings().Get(r); r.Links().Has(primary) {
			t.Errorf("a group of %v is kept for nothing", r.Tiers)
		}
	}
	for _, u := range s.fib.InUse() {
		if fmt.Sprint(u.Ranking.Tiers) == "[[2] [3] [4]]" && u.Routes != 1 {
			t.Errorf("%d routes use %v", u.Routes, u.Ranking.Tiers)
		}
	}
}

// TestBarriers: what a rule drops rather than let it go by other links does not do so from a link's own table either.
func TestBarriers(t *testing.T) {
	pin := Steer{Name: "vpn", To: prefixes("4.1.0.7/32", "4.2.0.0/16"), Drop: true, Use: [][]route.LinkSet{{route.NewLinkSet(ispA)}}}
	other := Steer{Name: "soft", To: prefixes("7.0.0.0/8"), Use: [][]route.LinkSet{{route.NewLinkSet(ispB)}}}
	s := newSite(t, Params{Compress: true, Steer: []Steer{pin, other}})
	s.announce(ispA, 1, "0.0.0.0/0")
	s.table.SetStatic(ispB, true)
	s.announce(primary, 1, "4.0.0.0/8", "4.1.0.7/32")
	s.settle()
	expect(t, "isp-a", s.link(ispA),
		"0.0.0.0/0 table 9803 metric 100 via [[3]]", "0.0.0.0/0 table 9803 metric 101 via [[4]]",
		"4.1.0.7/32 table 9803 metric 1000 throw", "4.1.0.7/32 table 9803 metric 101 via [[3]]",
		"4.2.0.0/16 table 9803 metric 1000 throw", "4.2.0.0/16 table 9803 metric 101 via [[3]]")
	expect(t, "isp-b, by which the rule lets nothing go", s.link(ispB),
		"0.0.0.0/0 table 9804 metric 100 via [[4]]", "0.0.0.0/0 table 9804 metric 101 via [[3]]")
	s.announce(ispA, 1, "4.1.0.7/32")
	s.settle()
	s.withdraw(ispA, "0.0.0.0/0")
	s.settle()
	expect(t, "isp-a has only the pin", s.link(ispA), "4.1.0.7/32 table 9803 metric 100 via [[3]]")
	s.announce(ispA, 1, "0.0.0.0/0")
	s.settle()
	expect(t, "and its default again", s.link(ispA),
		"0.0.0.0/0 table 9803 metric 100 via [[3]]", "0.0.0.0/0 table 9803 metric 101 via [[4]]",
		"4.1.0.7/32 table 9803 metric 1000 throw", "4.1.0.7/32 table 9803 metric 101 via [[3]]",
		"4.2.0.0/16 table 9803 metric 1000 throw", "4.2.0.0/16 table 9803 metric 101 via [[3]]")
}

func TestPin(t *testing.T) {
	pin := Steer{Name: "vpn", To: prefixes("4.1.0.7/32"), Drop: true,
		Use: [][]route.LinkSet{{route.NewLinkSet(ispA)}, {route.NewLinkSet(ispB)}}}
	s := newSite(t, Params{Compress: true, Steer: []Steer{pin}})
	s.announce(ispA, 1, "0.0.0.0/0")
	s.table.SetStatic(ispB, true)
	s.announce(primary, 1, "4.0.0.0/8", "4.1.0.7/32")
	s.settle()
	pinned := func() []string {
		return slices.DeleteFunc(s.main(), func(l string) bool { return !strings.HasPrefix(l, "4.1.0.7/32") })
	}
	expect(t, "the circuit announces the very address", pinned(),
		"4.1.0.7/32 table 9800 metric 100 via [[3] [4]]",
		"4.1.0.7/32 table 9800 metric 1000 blackhole",
		"4.1.0.7/32 table 9800 metric 102 via [[4]]")
	s.state.Dead = route.NewLinkSet(ispA)
	s.settle()
	expect(t, "isp-a dead", pinned(),
		"4.1.0.7/32 table 9800 metric 100 via [[3] [4]]",
		"4.1.0.7/32 table 9800 metric 1000 blackhole")
	s.state.Dead = route.NewLinkSet(ispA, ispB)
	s.settle()
	expect(t, "both dead", pinned(), "4.1.0.7/32 table 9800 metric 1000 blackhole")
}

func TestSteerApply(t *testing.T) {
	set := route.NewLinkSet
	natural := rib.Ranking{Tiers: [][]route.Link{{1, 2}, {3}, {4}}}
	rows := []struct {
		name string
		rule Steer
		want string
	}{
		{"order and drop", Steer{Use: [][]route.LinkSet{{set(4)}, {set(3)}}, Drop: true}, "[[4] [3]] true"},
		{"the rest behind", Steer{Use: [][]route.LinkSet{{set(4)}}}, "[[4] [1 2] [3]] false"},
		{"one tier of two paths", Steer{Use: [][]route.LinkSet{{set(3), set(4)}, {set(1, 2)}}, Drop: true}, "[[3 4] [1 2]] true"},
		{"a link without a route takes no part", Steer{Use: [][]route.LinkSet{{set(9)}, {set(3)}}, Drop: true}, "[[3]] true"},
		{"none has a route", Steer{Use: [][]route.LinkSet{{set(9)}}, Drop: true}, "[] true"},
	}
	for _, row := range rows {
		r := row.rule.Apply(natural)
		if got := fmt.Sprint(r.Tiers, r.Drop); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	two := Steer{Use: [][]route.LinkSet{{set(1, 2), set(3, 4)}}, Drop: true}
	if got := fmt.Sprint(two.Apply(rib.Ranking{Tiers: [][]route.Link{{1}, {3}, {2}, {4}}}).Tiers); got != "[[1 3] [2 4]]" {
		t.Errorf("paths with a backup each share tiers by their order: %s", got)
	}
}

func TestGroupIDsFollowContent(t *testing.T) {
	one, two := rib.NewRankings(), rib.NewRankings()
	two.Intern(rib.Ranking{Tiers: [][]route.Link{{7}}})
	r := rib.Ranking{Tiers: [][]route.Link{{1, 2}, {3}}}
	a, b := newGroups(route.IPv4, one), newGroups(route.IPv4, two)
	if x, y := a.id(one.Intern(r)), b.id(two.Intern(r)); x != y {
		t.Errorf("the same ranking is group %d and group %d", x, y)
	}
	six := newGroups(route.IPv6, one)
	if a.id(1) == six.id(1) {
		t.Error("both families have one group")
	}
}

// TestRulesGoOneByOne: to the kernel a rule without an interface that is to be deleted is any with the same numbers. So none is like
// another but for that.
func TestRulesGoOneByOne(t *testing.T) {
	links := []route.Link{1, 2, 3, kstate.MaxLinks}
	all := route.NewLinkSet(links...)
	seen := map[kstate.Rule]bool{}
	for _, r := range Rules(route.IPv4, links, links[1:], all, all, 3, 0xff, State{Present: all}) {
		r.Local = false
		if seen[r] {
			t.Errorf("%s is there twice", r)
		}
		seen[r] = true
	}
}

func TestRules(t *testing.T) {
	s := State{Present: route.NewLinkSet(1, 2), Dead: route.NewLinkSet(2)}
	var got []string
	for _, r := range Rules(route.IPv4, []route.Link{1, 2, 3}, []route.Link{2, 1}, route.NewLinkSet(1, 2, 3), route.NewLinkSet(2), 1, 0xff00, s) {
		got = append(got, r.String())
	}
	expect(t, "rules", got,
		"rule priority 9801 fwmark 0x100/0xff00 lookup 9801 proto 98",

		"rule priority 10100 fwmark 0xff00/0xff00 lookup 10056 proto 98",
		"rule priority 10361 fwmark 0xfd00/0xff00 lookup 10313 proto 98",
		"rule priority 10622 iif lo fwmark 0x200/0xff00 lookup 9802 proto 98",
		"rule priority 10900 lookup 254 suppress_prefixlength 0 proto 98",
		"rule priority 10901 lookup 9800 proto 98")
}

// TestWeights has a path's weight be shared by its links.
func TestWeights(t *testing.T) {
	set := route.NewLinkSet
	r := rib.Ranking{Tiers: [][]route.Link{{1, 2}, {3}, {4}}}
	rows := []struct {
		name    string
		use     [][]route.LinkSet
		weights [][]int
		want    map[route.Link]int
	}{
		{"none", [][]route.LinkSet{{set(1, 2), set(3)}}, nil, map[route.Link]int{1: 1, 2: 1, 3: 1}},
		{"single links", [][]route.LinkSet{{set(3), set(4)}}, [][]int{{3, 1}}, map[route.Link]int{3: 3, 4: 1}},
		{"a path of two links against one of one", [][]route.LinkSet{{set(1, 2), set(3)}}, [][]int{{1, 1}}, map[route.Link]int{1: 1, 2: 1, 3: 2}},
		{"the same, three to one", [][]route.LinkSet{{set(1, 2), set(3)}}, [][]int{{3, 1}}, map[route.Link]int{1: 3, 2: 3, 3: 2}},
		{"another tier has none", [][]route.LinkSet{{set(1, 2)}, {set(3), set(4)}}, [][]int{nil, {2, 1}}, map[route.Link]int{1: 1, 2: 1, 3: 2, 4: 1}},
	}
	for _, row := range rows {
		s := Steer{Use: row.use, Weights: row.weights}
		got := s.Apply(r)
		for l, w := range row.want {
			if got.Weight(l) != w {
				t.Errorf("%s: link %d has weight %d, want %d", row.name, l, got.Weight(l), w)
			}
		}
	}
}

// TestFollows: a route says whether it leads where its cover does, also when the cover alone changes. Compressed, it is not there at all.
func TestFollows(t *testing.T) {
	for _, compress := range []bool{false, true} {
		s := newSite(t, Params{Compress: compress})
		own := kstate.RouteKey{Table: kstate.Table, Prefix: netip.MustParsePrefix("20.0.0.0/8"), Metric: kstate.MetricRanking}
		check := func(when string, there, follows bool) {
			t.Helper()
			s.settle()
			if _, ok := s.have[own]; ok != there || s.follows[own] != follows {
				t.Errorf("compress %t, %s: there %t, follows %t", compress, when, ok, s.follows[own])
			}
		}
		s.announce(ispA, 1, "0.0.0.0/0", "20.0.0.0/8")
		check("as its cover", !compress, !compress)
		s.announce(primary, 1, "20.0.0.0/8")
		check("it has a way of its own", true, false)
		s.announce(primary, 1, "0.0.0.0/0")
		check("its cover has the same, and its own ranking does not change", !compress, !compress)
		s.withdraw(primary, "0.0.0.0/0")
		check("its cover has no more", true, false)
	}
}
